//! What serde reports when a value cannot be read, with the place it belongs to.

use std::fmt;

use serde::de;

use super::tree::NodeId;

/// Which part of the document is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// A node.
    Value(NodeId),
    /// The key whose value is this node.
    Key(NodeId),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A type's own refusal.
    Custom(String),
    /// Something else was expected; in the words of the type.
    Expected(String),
    Missing(&'static str),
    UnknownField(String, &'static [&'static str]),
    UnknownVariant {
        what: &'static str,
        given: String,
        valid: &'static [&'static str],
    },
    /// A made-up value was refused: the consequence of a fault that is known already.
    Hole,
}

#[derive(Debug)]
pub(super) struct Fault {
    pub at: Option<Spot>,
    pub kind: Kind,
}

impl Fault {
    // Errors carry it boxed.
    #[allow(clippy::unnecessary_box_returns)]
    pub(super) fn new(kind: Kind) -> Box<Self> {
        Box::new(Self { at: None, kind })
    }
}

/// Boxed: the error travels through every visitor's return value.
#[derive(Debug)]
pub(super) struct Error(pub Box<Fault>);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.kind)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(Fault::new(Kind::Custom(message.to_string())))
    }
    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(Fault::new(Kind::Expected(expected.to_string())))
    }
    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(Fault::new(Kind::Expected(expected.to_string())))
    }
    fn invalid_length(_: usize, expected: &dyn de::Expected) -> Self {
        Self(Fault::new(Kind::Expected(expected.to_string())))
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let kind = Kind::UnknownVariant { what: "", given: variant.to_owned(), valid: expected };
        Self(Fault::new(kind))
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self(Fault::new(Kind::UnknownField(field.to_owned(), expected)))
    }
    fn missing_field(field: &'static str) -> Self {
        Self(Fault::new(Kind::Missing(field)))
    }
    fn duplicate_field(field: &'static str) -> Self {
        Self(Fault::new(Kind::Custom(format!("the field `{field}` is written twice"))))
    }
}

impl Error {
    pub(super) fn hole(id: NodeId) -> Self {
        Self(Box::new(Fault { at: Some(Spot::Value(id)), kind: Kind::Hole }))
    }

    pub(super) fn or_at(mut self, spot: Spot) -> Self {
        self.0.at.get_or_insert(spot);
        self
    }
}
