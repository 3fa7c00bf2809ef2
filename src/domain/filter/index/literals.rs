//! What a text must hold so that a regular expression can be found in it.
//!
//! Invariant: a text in which the expression is found holds one of the literals.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind, Look};

/// A text that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) bytes: Vec<u8>,
    /// The text begins with it.
    pub(super) first: bool,
}

/// More alternatives than this are not worth a look-up each.
const MAX_LITERALS: usize = 64;

/// One of these must be there; `None`: nothing must.
pub(super) fn required(pattern: &str) -> Option<Vec<Literal>> {
    // A pattern that was compiled parses; what does not asks for nothing.
    let hir = ParserBuilder::new().build().parse(pattern).ok()?;
    of(&hir)
}

fn of(hir: &Hir) -> Option<Vec<Literal>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(vec![Literal {
            bytes: literal.0.to_vec(),
            first: false,
        }]),
        HirKind::Capture(capture) => of(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => of(&repetition.sub),
        HirKind::Concat(parts) => {
            let anchored = parts
                .first()
                .is_some_and(|first| matches!(first.kind(), HirKind::Look(Look::Start)));
            let found = parts.iter().enumerate().filter_map(|(index, part)| {
                let mut literals = of(part)?;
                let first = anchored && index == 1 && matches!(part.kind(), HirKind::Literal(_));
                literals
                    .iter_mut()
                    .for_each(|literal| literal.first |= first);
                Some(literals)
            });
            found.max_by_key(|literals| shortest(literals))
        }
        HirKind::Alternation(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                all.extend(of(branch)?);
            }
            (all.len() <= MAX_LITERALS).then_some(all)
        }
        _ => None,
    }
}

fn shortest(literals: &[Literal]) -> usize {
    let lengths = literals.iter().map(|literal| literal.bytes.len());
    lengths.min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_one_that_cannot_be_missing() {
        for (pattern, expected) in [
            ("^ord-[0-9]+-eu$", Some(vec![("ord-", true)])),
            (
                "x*(long|longer)+y?",
                Some(vec![("long", false), ("longer", false)]),
            ),
            ("[0-9]+needle[a-z]", Some(vec![("needle", false)])),
            ("ab|cd", Some(vec![("ab", false), ("cd", false)])),
            ("a|b", None),
            ("(^ab|bc)d", Some(vec![("ab", true), ("bc", false)])),
            ("a|.*", None),
            ("(?i)abc", None),
            ("(?m)^abc", Some(vec![("abc", false)])),
            ("a{0,3}", None),
            ("", None),
            (".", None),
        ] {
            let found = required(pattern).map(|literals| {
                let texts = literals.into_iter().map(|literal| {
                    let text = String::from_utf8(literal.bytes).expect("UTF-8");
                    (text, literal.first)
                });
                texts.collect::<Vec<_>>()
            });
            let expected = expected.map(|texts: Vec<(&str, bool)>| {
                let texts = texts
                    .into_iter()
                    .map(|(text, first)| (text.to_owned(), first));
                texts.collect::<Vec<_>>()
            });
            assert_eq!(found, expected, "{pattern}");
        }
    }
}
