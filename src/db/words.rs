//! Closed sets of words, as columns hold them and answers show them.

/// Defines an enum whose variants are words: it is read from and bound to TEXT columns, serialised as its word, and parsed from it.
macro_rules! words {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ::serde::Serialize, ::serde::Deserialize)]
        $vis enum $name {
            $($(#[$variant_meta])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every word.
            $vis const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the word.
            #[must_use]
            $vis fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> ::std::result::Result<Self, String> {
                let found = Self::ALL.iter().find(|known| known.as_str() == word);
                found
                    .copied()
                    .ok_or_else(|| format!("unknown {}: {word:?}", stringify!($name)))
            }
        }

        impl<D: ::sqlx::Database> ::sqlx::Type<D> for $name
        where
            String: ::sqlx::Type<D>,
        {
            fn type_info() -> D::TypeInfo {
                <String as ::sqlx::Type<D>>::type_info()
            }

            fn compatible(info: &D::TypeInfo) -> bool {
                <String as ::sqlx::Type<D>>::compatible(info)
            }
        }

        impl<'r, D: ::sqlx::Database> ::sqlx::Decode<'r, D> for $name
        where
            String: ::sqlx::Decode<'r, D>,
        {
            fn decode(
                value: D::ValueRef<'r>,
            ) -> ::std::result::Result<Self, ::sqlx::error::BoxDynError> {
                Ok(<String as ::sqlx::Decode<'r, D>>::decode(value)?.parse()?)
            }
        }

        impl From<$name> for $crate::db::Value {
            fn from(word: $name) -> Self {
                Self::from(word.as_str())
            }
        }

        impl From<&$name> for $crate::db::Value {
            fn from(word: &$name) -> Self {
                Self::from(word.as_str())
            }
        }
    };
}

pub(crate) use words;
