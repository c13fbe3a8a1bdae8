//! A made-up value in the place of one that is missing or wrong.
//!
//! Its only purpose is to let a pass go on, so that faults further down are found too.
//! What is read with the help of a hole is thrown away. A type that refuses the made-up
//! value makes the pass fail with [`super::fault::Kind::Hole`], which nobody is shown.

use serde::de::{self, DeserializeSeed, Deserializer, Visitor};

use super::fault::Error;
use super::tree::NodeId;

/// Text that durations, quantities, sizes, prices and names alike can be read from.
const TEXT: &str = "0";
/// A type that contains itself would be made up for ever.
const DEPTH_MAX: usize = 12;

#[derive(Clone, Copy)]
pub(super) struct Hole {
    id: NodeId,
    depth: usize,
}

type Result<T> = std::result::Result<T, Error>;

impl Hole {
    pub(super) fn new(id: NodeId) -> Self {
        Self { id, depth: 0 }
    }

    fn deeper(self) -> Result<Self> {
        if self.depth >= DEPTH_MAX {
            Err(Error::hole(self.id))
        } else {
            Ok(Self { depth: self.depth + 1, ..self })
        }
    }

    fn made<T>(self, value: Result<T>) -> Result<T> {
        value.map_err(|_| Error::hole(self.id))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            // One, for counts that must not be zero.
            self.made(visitor.$visit(1u8.into()))
        }
    )*};
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            self.made(visitor.visit_str(TEXT))
        }
    )*};
}

impl<'de> Deserializer<'de> for Hole {
    type Error = Error;

    numbers! {
        deserialize_i16 visit_i16, deserialize_i32 visit_i32, deserialize_i64 visit_i64,
        deserialize_u8 visit_u8, deserialize_u16 visit_u16, deserialize_u32 visit_u32,
        deserialize_u64 visit_u64, deserialize_f32 visit_f32, deserialize_f64 visit_f64
    }
    texts! {
        deserialize_any deserialize_str deserialize_string deserialize_char deserialize_identifier
        deserialize_bytes deserialize_byte_buf
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.made(visitor.visit_i8(1))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.made(visitor.visit_bool(false))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.made(visitor.visit_none())
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.made(visitor.visit_unit())
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        self.made(visitor.visit_unit())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.made(visitor.visit_unit())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        self.made(visitor.visit_newtype_struct(self.deeper()?))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.made(visitor.visit_seq(Made { hole: self, fields: &[], left: 0 }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.made(visitor.visit_seq(Made { hole: self.deeper()?, fields: &[], left: len }))
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
        self.made(visitor.visit_map(Made { hole: self, fields: &[], left: 0 }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let hole = self.deeper()?;
        self.made(visitor.visit_map(Made { hole, fields, left: 0 }))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let hole = self.deeper()?;
        let variant = variants.first().ok_or_else(|| Error::hole(self.id))?;
        self.made(visitor.visit_enum(MadeChoice { hole, variant }))
    }
}

/// Made-up fields or list items.
struct Made {
    hole: Hole,
    fields: &'static [&'static str],
    left: usize,
}

impl<'de> de::MapAccess<'de> for Made {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let Some((field, rest)) = self.fields.split_first() else { return Ok(None) };
        self.fields = rest;
        seed.deserialize(de::value::StrDeserializer::new(field)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value> {
        seed.deserialize(self.hole)
    }
}

impl<'de> de::SeqAccess<'de> for Made {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.hole).map(Some)
    }
}

struct MadeChoice {
    hole: Hole,
    variant: &'static str,
}

impl<'de> de::EnumAccess<'de> for MadeChoice {
    type Error = Error;
    type Variant = Hole;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Hole)> {
        Ok((seed.deserialize(de::value::StrDeserializer::<Error>::new(self.variant))?, self.hole))
    }
}

impl<'de> de::VariantAccess<'de> for Hole {
    type Error = Error;

    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self)
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
