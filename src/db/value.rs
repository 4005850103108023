//! Values that can be bound on both engines, including nulls.

use crate::clock::Time;

/// A bound value. Each kind has its own null, because PostgreSQL requires the type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// TEXT.
    Text(Option<String>),
    /// BIGINT.
    Int(Option<i64>),
    /// DOUBLE PRECISION.
    Real(Option<f64>),
    /// BOOLEAN.
    Bool(Option<bool>),
    /// BYTEA.
    Bytes(Option<Vec<u8>>),
}

/// The values of a statement.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Args(pub Vec<Value>);

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(ToOwned::to_owned))
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident $(, $convert:expr)?);* $(;)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self { Self::$variant(Some($($convert)?(value))) }
        }
        impl From<&$type> for Value {
            fn from(value: &$type) -> Self { Self::from(value.clone()) }
        }
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self { Self::$variant(value.map(|v| $($convert)?(v))) }
        }
        impl From<&Option<$type>> for Value {
            fn from(value: &Option<$type>) -> Self { Self::from(value.clone()) }
        }
    )*};
}

from! {
    String => Text;
    i64 => Int;
    f64 => Real;
    bool => Bool;
    Vec<u8> => Bytes;
    Time => Int, |t: Time| t.0;
}
