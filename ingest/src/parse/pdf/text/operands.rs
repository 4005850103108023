//! Operands of content stream operators.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]

use hayro_font::kurbo::Affine;
use hayro_syntax::object::{Name, Object};

/// Operands of an instruction; too many or too few are not an error.
pub(crate) struct Operands<'b, 'c>(pub Vec<&'b Object<'c>>);

impl<'b, 'c> Operands<'b, 'c> {
    pub(crate) fn numbers(&self) -> Vec<f64> {
        let number = |o: &&Object<'_>| match o {
            Object::Number(n) => Some(n.as_f64()),
            _ => None,
        };
        self.0.iter().filter_map(number).collect()
    }

    pub(crate) fn number(&self, at: usize) -> Option<f64> {
        self.numbers().get(at).copied()
    }

    pub(crate) fn matrix(&self) -> Option<Affine> {
        let numbers = self.numbers();
        Some(Affine::new(numbers.first_chunk::<6>().copied()?))
    }

    pub(crate) fn name(&self) -> Option<&'b Name<'c>> {
        self.0.iter().find_map(|o| as_name(o))
    }
}

pub(crate) fn as_name<'b, 'c>(object: &'b Object<'c>) -> Option<&'b Name<'c>> {
    match object {
        Object::Name(name) => Some(name),
        _ => None,
    }
}
