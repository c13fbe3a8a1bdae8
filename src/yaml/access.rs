//! Lists, mappings, keys and choices, as serde asks for their parts.

use serde::de::{self, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::de::NodeDe;
use super::fault::{Error, Fault, Kind, Spot};
use super::hole::Hole;
use super::read::Reader;
use super::scalar::parse_integer;
use super::tree::{Entry, NodeId, Value};

type Result<T> = std::result::Result<T, Error>;

/// The items of a list.
pub(super) struct Items<'a> {
    reader: &'a Reader<'a>,
    items: std::slice::Iter<'a, NodeId>,
}

impl<'a> Items<'a> {
    pub(super) fn new(reader: &'a Reader<'a>, items: &'a [NodeId]) -> Self {
        Self { reader, items: items.iter() }
    }
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.items.next().map(|id| NodeDe::new(self.reader, *id).feed(seed)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The entries of a mapping, less the unknown ones, and then a hole for each field known to be missing.
pub(super) struct Entries<'a> {
    reader: &'a Reader<'a>,
    owner: NodeId,
    left: std::slice::Iter<'a, Entry>,
    missing: std::vec::IntoIter<&'static str>,
    /// The value of the key that was read last; within, `None` is a hole.
    #[allow(clippy::option_option)]
    value: Option<Option<NodeId>>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(of: NodeDe<'a>, entries: &'a [Entry]) -> Self {
        let missing = of.reader.missing_of(of.id).into_iter();
        Self { reader: of.reader, owner: of.id, left: entries.iter(), missing, value: None }
    }
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let reader = self.reader;
        if let Some(entry) = self.left.find(|entry| !reader.is_skipped(entry.value)) {
            self.value = Some(Some(entry.value));
            let key = seed.deserialize(KeyDe(&entry.key));
            return key.map(Some).map_err(|error| error.or_at(Spot::Key(entry.value)));
        }
        let Some(field) = self.missing.next() else { return Ok(None) };
        self.value = Some(None);
        seed.deserialize(KeyDe(field)).map(Some).map_err(|_| Error::hole(self.owner))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value> {
        match self.value.take() {
            Some(Some(id)) => NodeDe::new(self.reader, id).feed(seed),
            _ => seed.deserialize(Hole::new(self.owner)).map_err(|_| Error::hole(self.owner)),
        }
    }
}

/// A key, which is always text; a type that wants a number of it gets one if it looks like one.
#[derive(Clone, Copy)]
struct KeyDe<'a>(&'a str);

macro_rules! key_numbers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            match parse_integer(self.0).ok().and_then(|value| <$type>::try_from(value).ok()) {
                Some(value) => visitor.$visit(value),
                None => Err(Error::custom(format!("the key `{}` is not a whole number in range", self.0))),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for KeyDe<'_> {
    type Error = Error;

    key_numbers! {
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        if !variants.contains(&self.0) {
            let kind = Kind::UnknownVariant { what: name, given: self.0.to_owned(), valid: variants };
            return Err(Error(Fault::new(kind)));
        }
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        bool i8 i16 u8 u16 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// A variant and its settings.
pub(super) struct Choice<'a> {
    given: &'a str,
    inner: NodeDe<'a>,
    spot: Spot,
}

impl<'a> Choice<'a> {
    pub(super) fn new(given: &'a str, inner: NodeDe<'a>, spot: Spot) -> Self {
        Self { given, inner, spot }
    }
}

impl<'de, 'a> de::EnumAccess<'de> for Choice<'a> {
    type Error = Error;
    type Variant = NodeDe<'a>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, NodeDe<'a>)> {
        let variant = seed.deserialize(KeyDe(self.given)).map_err(|error| error.or_at(self.spot))?;
        Ok((variant, self.inner))
    }
}

impl<'de> de::VariantAccess<'de> for NodeDe<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<()> {
        if self.is_nothing() || matches!(self.value(), Value::Mapping(entries) if entries.is_empty()) {
            return Ok(());
        }
        let error = Error::custom("this choice has no settings; write its name alone");
        Err(error.or_at(Spot::Value(self.id)))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        self.feed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_struct("", fields, visitor)
    }
}
