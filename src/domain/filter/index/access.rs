//! The cheapest condition that an event must meet so that a filter can take it.
//!
//! Of conditions that must all hold one is enough, the one that costs least; of alternatives each needs one. A negation
//! says nothing of what is there, so it has none.
//!
//! Invariant: where a filter takes an event, some value of the event meets one of the filter's look-ups.

use super::super::expression::{Expression, Kinds, Leaf, Operand, Tree};
use super::super::javascript::{Operator, number_text, to_number};
use super::super::json::{Item, Kind};
use super::super::predicate::{Glob, Predicate, Range};
use super::super::search::Need as TermNeed;
use super::asked::is_structure;
use super::literals;
use super::need::{Lookup, Need};

/// Look-ups of which one must succeed, and what they cost.
#[derive(Debug, Default)]
pub(super) struct Access<'f> {
    pub(super) lookups: Vec<Lookup<'f>>,
    cost: u64,
}

/// Finds the look-ups of an expression; `None`: nothing must be there. `cost` says what a look-up costs.
pub(super) fn access<'f>(
    expression: &'f Expression,
    cost: &dyn Fn(&Lookup<'f>) -> u64,
) -> Option<Access<'f>> {
    let mut finder = Finder {
        path: Vec::new(),
        cost,
    };
    finder.expression(expression, false)
}

struct Finder<'f, 'c> {
    path: Vec<&'f str>,
    cost: &'c dyn Fn(&Lookup<'f>) -> u64,
}

impl<'f> Finder<'f, '_> {
    fn one(&self, need: Need) -> Option<Access<'f>> {
        if need == Need::Present && self.path.is_empty() {
            // Every event is something.
            return None;
        }
        let lookup = Lookup {
            path: self.path.clone(),
            need,
        };
        let cost = (self.cost)(&lookup);
        Some(Access {
            lookups: vec![lookup],
            cost,
        })
    }

    fn any(&self, needs: impl IntoIterator<Item = Need>) -> Option<Access<'f>> {
        let mut all = Some(Access::default());
        for need in needs {
            all = union(all, self.one(need));
        }
        all
    }

    /// `missing`: the expression may be asked where nothing is.
    fn expression(&mut self, expression: &'f Expression, missing: bool) -> Option<Access<'f>> {
        let present = |this: &Self| {
            if missing {
                None
            } else {
                this.one(Need::Present)
            }
        };
        match expression {
            Expression::Constant(false) => Some(Access::default()),
            Expression::Constant(true) | Expression::Not(_) => present(self),
            Expression::All(parts) => {
                let accesses = parts.iter().map(|part| self.expression(part, missing));
                let all: Vec<_> = accesses.collect();
                let all = all.into_iter().flatten();
                all.min_by_key(|access| access.cost)
                    .or_else(|| present(self))
            }
            Expression::Any(parts) => {
                let mut all = Some(Access::default());
                for part in parts {
                    all = union(all, self.expression(part, missing));
                    all.as_ref()?;
                }
                all
            }
            Expression::Test(predicate) => self.predicate(predicate),
            Expression::Loose(wanted) => self.equal(wanted.root()),
            Expression::Operator(operator, operand) => self.operator(*operator, operand, missing),
            Expression::Same(_) => self.one(Need::Present),
            Expression::Fields(tree) if missing && tree.holds_for_nothing() => None,
            Expression::Fields(tree) => self.tree(tree),
            Expression::Member {
                name,
                missing,
                inner,
            } => {
                self.path.push(name);
                let access = self.expression(inner, *missing);
                self.path.pop();
                access
            }
            Expression::Element(part) => self.expression(part, false),
            Expression::Kinds(kinds) => self.kinds(kinds, missing),
            Expression::Reroot(part) => self.expression(part, missing),
        }
    }

    fn kinds(&mut self, kinds: &'f Kinds, missing: bool) -> Option<Access<'f>> {
        let mut all = self.expression(&kinds.scalar, false);
        all = union(all, self.expression(&kinds.object, false));
        if let Some(array) = &kinds.array {
            all = union(all, self.expression(array, false));
        }
        if missing {
            all = union(all, self.expression(&kinds.missing, true));
        }
        all
    }

    fn tree(&mut self, tree: &'f Tree) -> Option<Access<'f>> {
        let own = tree.leaf.as_ref().and_then(|leaf| self.leaf(leaf));
        let mut best = own;
        for (name, branch) in &tree.branches {
            self.path.push(name);
            let below = self.tree(branch);
            self.path.pop();
            best = match (best, below) {
                (Some(a), Some(b)) => Some(if b.cost < a.cost { b } else { a }),
                (a, b) => a.or(b),
            };
        }
        best
    }

    fn leaf(&mut self, leaf: &'f Leaf) -> Option<Access<'f>> {
        if leaf.absent {
            return None;
        }
        let mut all = Some(Access::default());
        for test in &leaf.tests {
            all = union(all, self.predicate(test));
        }
        all
    }

    fn predicate(&self, predicate: &'f Predicate) -> Option<Access<'f>> {
        let text = |text: &str| Need::Text {
            text: text.to_owned(),
            list: false,
        };
        self.one(match predicate {
            Predicate::Null => Need::Null,
            Predicate::Bool(bool) => Need::Bool(*bool),
            Predicate::Text(wanted) => text(wanted),
            // What is written alike is the same number for `f64`.
            Predicate::Number { exact, literal } => Need::Number {
                number: exact.unwrap_or_else(|| literal.parse().unwrap_or(f64::NAN)),
                loose: false,
            },
            Predicate::Range(range) => bounds(range),
            Predicate::Prefix { text, any_case } => affix(text, *any_case, false),
            Predicate::Suffix { text, any_case } => affix(text, *any_case, true),
            Predicate::AnyCase(wanted) if wanted.is_ascii() => {
                Need::AnyCase(wanted.to_ascii_lowercase())
            }
            Predicate::AnyCase(wanted) => affix(wanted, true, false),
            Predicate::Glob(glob) => return self.glob(glob),
            Predicate::Regex(regex) => return self.regex(regex.text()),
            Predicate::Address(address) => Need::Address(*address),
            Predicate::Network(..) | Predicate::Scalar | Predicate::Other(_) => Need::Present,
            Predicate::Term(term) => return self.term(term.need()),
        })
    }

    fn regex(&self, pattern: &str) -> Option<Access<'f>> {
        let Some(literals) = literals::required(pattern) else {
            return self.one(Need::Present);
        };
        self.any(literals.into_iter().map(|literal| match literal.first {
            true => Need::Prefix {
                bytes: literal.bytes,
                any_case: false,
                list: false,
            },
            false => Need::Contains(literal.bytes),
        }))
    }

    fn term(&self, need: TermNeed<'_>) -> Option<Access<'f>> {
        match need {
            TermNeed::Anything => self.one(Need::Present),
            TermNeed::Never => Some(Access::default()),
            TermNeed::Range { low, high } => self.one(Need::Range {
                low,
                high,
                loose: true,
            }),
            TermNeed::Prefix { text, list } => self.one(Need::Prefix {
                bytes: text.into(),
                any_case: false,
                list,
            }),
            TermNeed::Equal { text, number, list } => {
                let bool = match text {
                    "true" => Some(Need::Bool(true)),
                    "false" => Some(Need::Bool(false)),
                    _ => None,
                };
                let number = number.map(|number| Need::Number {
                    number,
                    loose: true,
                });
                let text = Need::Text {
                    text: text.to_owned(),
                    list,
                };
                self.any([Some(text), number, bool].into_iter().flatten())
            }
        }
    }

    fn glob(&self, glob: &'f Glob) -> Option<Access<'f>> {
        let parts = glob.parts();
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return self.one(Need::Present);
        };
        if parts.len() == 1 {
            return self.one(Need::Text {
                text: (**first).to_owned(),
                list: false,
            });
        }
        let between = parts.iter().skip(1).take(parts.len() - 2);
        let contains = between.max_by_key(|part| part.len());
        let contains = contains.map(|part| contains_text(part));
        let all = [affix(first, false, false), affix(last, false, true)];
        let all = all.into_iter().chain(contains);
        let all = all.filter_map(|need| self.one(need));
        all.min_by_key(|access| access.cost)
    }

    /// Equality as JavaScript's `==` has it.
    fn equal(&self, wanted: Item<'_>) -> Option<Access<'f>> {
        let number = |number: f64| Need::Number {
            number,
            loose: true,
        };
        match wanted.kind() {
            Kind::Null => self.one(Need::Null),
            Kind::Bool(bool) => self.one(number(f64::from(u8::from(*bool)))),
            Kind::Number(wanted) => self.one(number(wanted.float)),
            Kind::Text(text) => {
                let as_number = Some(to_number(text)).filter(|number| !number.is_nan());
                let text = Need::Text {
                    text: text.clone().into_owned(),
                    list: false,
                };
                self.any([Some(text), as_number.map(number)].into_iter().flatten())
            }
            Kind::Array | Kind::Object => Some(Access::default()),
        }
    }

    fn operator(
        &self,
        operator: Operator,
        operand: &'f Operand,
        missing: bool,
    ) -> Option<Access<'f>> {
        let Operand::Value(compare) = operand else {
            return if missing {
                None
            } else {
                self.one(Need::Present)
            };
        };
        let compare = compare.root();
        let bound = |low: Option<f64>, high: Option<f64>| match compare.kind() {
            Kind::Number(number) => self.one(Need::Range {
                low: low.unwrap_or(number.float),
                high: high.unwrap_or(number.float),
                loose: true,
            }),
            Kind::Text(_) => self.one(Need::Present),
            _ => Some(Access::default()),
        };
        match operator {
            Operator::Eq if matches!(compare.kind(), Kind::Null) && missing => None,
            Operator::Eq if is_structure(compare) => self.one(Need::Present),
            Operator::Eq => self.equal(compare),
            Operator::Neq if missing => None,
            Operator::Neq | Operator::Nin => self.one(Need::Present),
            Operator::In => self.within(compare),
            Operator::StartsWith | Operator::EndsWith => {
                let last = operator == Operator::EndsWith;
                let texts = compare.text().into_iter();
                let texts = texts.chain(compare.children().filter_map(Item::text));
                self.any(texts.map(|text| affix(text, false, last)))
            }
            Operator::Gte | Operator::Gt => bound(None, Some(f64::INFINITY)),
            Operator::Lte | Operator::Lt => bound(Some(f64::NEG_INFINITY), None),
            Operator::Exist => match compare.kind() {
                Kind::Bool(true) => self.one(Need::Present),
                Kind::Bool(false) if missing => None,
                _ => Some(Access::default()),
            },
        }
    }

    /// `$in`.
    fn within(&self, compare: Item<'_>) -> Option<Access<'f>> {
        match compare.kind() {
            Kind::Text(part) => self.one(contains_text(part)),
            Kind::Number(number) => self.one(contains_text(&number_text(number.float))),
            Kind::Array => self.any(compare.children().filter_map(|wanted| {
                Some(match wanted.kind() {
                    Kind::Text(text) => Need::Text {
                        text: text.clone().into_owned(),
                        list: false,
                    },
                    Kind::Number(number) => Need::Number {
                        number: number.float,
                        loose: false,
                    },
                    _ => return None,
                })
            })),
            _ => Some(Access::default()),
        }
    }
}

/// One of either; `None` if one of them needs nothing.
fn union<'f>(a: Option<Access<'f>>, b: Option<Access<'f>>) -> Option<Access<'f>> {
    let (mut a, b) = a.zip(b)?;
    for lookup in b.lookups {
        // Few, or of a list that a rule's size bounds.
        if a.lookups.len() > 64 || !a.lookups.contains(&lookup) {
            a.lookups.push(lookup);
        }
    }
    a.cost = a.cost.saturating_add(b.cost);
    Some(a)
}

fn bounds(range: &Range) -> Need {
    Need::Range {
        low: range.low.map_or(f64::NEG_INFINITY, |(low, _)| low),
        high: range.high.map_or(f64::INFINITY, |(high, _)| high),
        loose: false,
    }
}

/// What begins or ends with a text; in any case, only its ASCII beginning or end is looked up.
fn affix(text: &str, any_case: bool, last: bool) -> Need {
    let ascii = |bytes: &mut dyn Iterator<Item = u8>| -> Vec<u8> {
        let kept = bytes.take_while(|byte| !any_case || byte.is_ascii());
        kept.map(|byte| {
            if any_case {
                byte.to_ascii_lowercase()
            } else {
                byte
            }
        })
        .collect()
    };
    let bytes = if last {
        // Backwards, as it is looked up.
        ascii(&mut text.bytes().rev())
    } else {
        ascii(&mut text.bytes())
    };
    match (bytes.is_empty(), last) {
        (true, _) => Need::Present,
        (false, true) => Need::Suffix { bytes, any_case },
        (false, false) => Need::Prefix {
            bytes,
            any_case,
            list: false,
        },
    }
}

fn contains_text(text: &str) -> Need {
    if text.is_empty() {
        return Need::Present;
    }
    Need::Contains(text.into())
}
