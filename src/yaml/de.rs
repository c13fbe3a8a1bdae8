//! The tree as a serde `Deserializer`.
//!
//! Each fault leaves with the node it belongs to. A node that had a fault on an earlier
//! pass is read as a [`Hole`], so that the pass can go on and find the next one.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, Visitor};

use super::access::{Choice, Entries, Items};
use super::fault::{Error, Fault, Kind, Spot};
use super::hole::Hole;
use super::read::Reader;
use super::scalar::{NotANumber, is_null, parse_bool, parse_float, parse_integer};
use super::tree::{NodeId, Scalar, Value};

type Result<T> = std::result::Result<T, Error>;

#[derive(Clone, Copy)]
pub(super) struct NodeDe<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) id: NodeId,
    /// Read as nothing, whatever is there: the settings of an enum variant written as a bare word.
    blank: bool,
}

impl<'a> NodeDe<'a> {
    pub(super) fn new(reader: &'a Reader<'a>, id: NodeId) -> Self {
        Self { reader, id, blank: false }
    }

    /// Reads a value here. A type may read a text and refuse it itself; that fault is pinned here too.
    pub(super) fn feed<'de, T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self).map_err(|error| error.or_at(Spot::Value(self.id)))
    }

    pub(super) fn value(self) -> &'a Value {
        &self.reader.document.node(self.id).value
    }

    fn scalar(self) -> Option<&'a Scalar> {
        match self.value() {
            Value::Scalar(scalar) if !self.blank => Some(scalar),
            _ => None,
        }
    }

    pub(super) fn is_nothing(self) -> bool {
        self.blank || matches!(self.value(), Value::Scalar(s) if s.plain && is_null(&s.text))
    }

    fn plain(self) -> Result<&'a str> {
        match self.scalar() {
            Some(scalar) if scalar.plain && !is_null(&scalar.text) => Ok(&scalar.text),
            _ => Err(Error(Fault::new(Kind::Expected("a number".to_owned())))),
        }
    }

    fn integer(self, min: i128, max: i128) -> Result<i128> {
        let text = self.plain()?;
        match parse_integer(text) {
            Ok(value) if (min..=max).contains(&value) => Ok(value),
            Ok(_) | Err(NotANumber::TooLarge) => Err(Error::custom(format!(
                "`{text}` is out of range; write a whole number from {min} to {max}"
            ))),
            Err(NotANumber::Octal) => Err(octal(text)),
            Err(NotANumber::Other) => Err(Error(Fault::new(Kind::Expected("a whole number".to_owned())))),
        }
    }

    fn float(self) -> Result<f64> {
        let text = self.plain()?;
        parse_float(text).map_err(|why| match why {
            NotANumber::Octal => octal(text),
            NotANumber::TooLarge => Error::custom(format!("`{text}` is too large for a number")),
            NotANumber::Other => Error(Fault::new(Kind::Expected("a number".to_owned()))),
        })
    }

    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let scalar = match self.value() {
            _ if self.is_nothing() => return visitor.visit_unit(),
            Value::Sequence(items) => return self.sequence(items, visitor),
            Value::Mapping(entries) => return visitor.visit_map(Entries::new(self, entries)),
            Value::Scalar(scalar) => scalar,
        };
        let text = scalar.text.as_str();
        if !scalar.plain {
            return visitor.visit_str(text);
        }
        if let Some(value) = parse_bool(text) {
            return visitor.visit_bool(value);
        }
        match parse_integer(text) {
            Ok(value) => {
                if let Ok(value) = u64::try_from(value) {
                    return visitor.visit_u64(value);
                }
                if let Ok(value) = i64::try_from(value) {
                    return visitor.visit_i64(value);
                }
                return visitor.visit_f64(value as f64);
            }
            Err(NotANumber::Octal) => return Err(octal(text)),
            Err(_) => {}
        }
        match parse_float(text) {
            Ok(value) => visitor.visit_f64(value),
            Err(_) => visitor.visit_str(text),
        }
    }

    fn sequence<'de, V: Visitor<'de>>(self, items: &'a [NodeId], visitor: V) -> Result<V::Value> {
        visitor.visit_seq(Items::new(self.reader, items))
    }

    fn list<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.value() {
            _ if self.is_nothing() => self.sequence(&[], visitor),
            Value::Sequence(items) => self.sequence(items, visitor),
            _ => Err(Error(Fault::new(Kind::Expected("a list".to_owned())))),
        }
    }

    fn mapping<'de, V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value> {
        match self.value() {
            _ if self.is_nothing() => visitor.visit_map(Entries::new(self, &[])),
            Value::Mapping(entries) => {
                if !fields.is_empty() {
                    self.reader.note_unknown_fields(entries, fields);
                }
                visitor.visit_map(Entries::new(self, entries))
            }
            _ => Err(Error(Fault::new(Kind::Expected("a mapping".to_owned())))),
        }
    }

    fn enumeration<'de, V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let one_of = || Error(Fault::new(Kind::Expected(format!("one of {}", variants.join(", ")))));
        let (given, spot, inner) = match self.value() {
            _ if self.is_nothing() => return Err(one_of()),
            Value::Scalar(scalar) => {
                (scalar.text.as_str(), Spot::Value(self.id), Self { blank: true, ..self })
            }
            Value::Mapping(entries) => {
                let [entry] = entries.as_slice() else {
                    let found = entries.len();
                    let message =
                        format!("expected exactly one of {}, found {found} keys", variants.join(", "));
                    return Err(Error::custom(message));
                };
                let inner = Self { id: entry.value, blank: false, ..self };
                (entry.key.as_str(), Spot::Key(entry.value), inner)
            }
            Value::Sequence(_) => return Err(one_of()),
        };
        if !variants.contains(&given) {
            let kind = Kind::UnknownVariant { what: name, given: given.to_owned(), valid: variants };
            return Err(Error(Fault::new(kind)).or_at(spot));
        }
        visitor.visit_enum(Choice::new(given, inner, spot))
    }
}

fn octal(text: &str) -> Error {
    let digits = text.trim_start_matches(['-', '+']).trim_start_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    Error::custom(format!(
        "`{text}` is ambiguous: YAML 1.1 reads a leading zero as octal; write {digits}, or \"{text}\" for text"
    ))
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            if self.reader.is_bad(self.id) {
                return Hole::new(self.id).$method(visitor);
            }
            let value = self
                .integer(i128::from(<$type>::MIN), i128::from(<$type>::MAX))
                .and_then(|value| visitor.$visit(value as $type));
            value.map_err(|error| error.or_at(Spot::Value(self.id)))
        }
    )*};
}

impl<'de> Deserializer<'de> for NodeDe<'_> {
    type Error = Error;

    integers! {
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.reader.is_bad(self.id) {
            return Hole::new(self.id).deserialize_any(visitor);
        }
        self.any(visitor).map_err(|error| error.or_at(Spot::Value(self.id)))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.reader.is_bad(self.id) {
            return Hole::new(self.id).deserialize_bool(visitor);
        }
        let value = self.scalar().filter(|s| s.plain).and_then(|s| parse_bool(&s.text));
        let value = match value {
            Some(value) => visitor.visit_bool(value),
            None => Err(Error(Fault::new(Kind::Expected("true or false".to_owned())))),
        };
        value.map_err(|error| error.or_at(Spot::Value(self.id)))
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.reader.is_bad(self.id) {
            return Hole::new(self.id).deserialize_f64(visitor);
        }
        let value = self.float().and_then(|value| visitor.visit_f64(value));
        value.map_err(|error| error.or_at(Spot::Value(self.id)))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.reader.is_bad(self.id) {
            return Hole::new(self.id).deserialize_str(visitor);
        }
        let value = match self.scalar() {
            Some(scalar) if !self.is_nothing() => visitor.visit_str(&scalar.text),
            // The type knows best what it wants: `a price`, not `text`.
            _ => Err(Error(Fault::new(Kind::Expected(Wants(&visitor).to_string())))),
        };
        value.map_err(|error| error.or_at(Spot::Value(self.id)))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.is_nothing() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.reader.is_bad(self.id) || self.is_nothing() {
            return visitor.visit_unit();
        }
        Err(Error(Fault::new(Kind::Expected("nothing".to_owned()))).or_at(Spot::Value(self.id)))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        let spot = Spot::Value(self.id);
        visitor.visit_newtype_struct(self).map_err(|error| error.or_at(spot))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.reader.is_bad(self.id) {
            return Hole::new(self.id).deserialize_seq(visitor);
        }
        self.list(visitor).map_err(|error| error.or_at(Spot::Value(self.id)))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        if self.reader.is_bad(self.id) {
            return Hole::new(self.id).deserialize_tuple(len, visitor);
        }
        let value = match self.value() {
            Value::Sequence(items) if items.len() == len => self.sequence(items, visitor),
            _ => Err(Error(Fault::new(Kind::Expected(format!("a list of {len}"))))),
        };
        value.map_err(|error| error.or_at(Spot::Value(self.id)))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.reader.is_bad(self.id) {
            return Hole::new(self.id).deserialize_map(visitor);
        }
        self.mapping(&[], visitor).map_err(|error| error.or_at(Spot::Value(self.id)))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        if self.reader.is_bad(self.id) {
            return Hole::new(self.id).deserialize_struct(name, fields, visitor);
        }
        self.mapping(fields, visitor).map_err(|error| error.or_at(Spot::Value(self.id)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        if self.reader.is_bad(self.id) {
            return Hole::new(self.id).deserialize_enum(name, variants, visitor);
        }
        self.enumeration(name, variants, visitor).map_err(|error| error.or_at(Spot::Value(self.id)))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }
}

/// What a visitor says it wants.
struct Wants<'a, V>(&'a V);

impl<'de, V: Visitor<'de>> fmt::Display for Wants<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}
