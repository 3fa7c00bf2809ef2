//! Regular expressions that are compiled when they are first asked.
//!
//! A rule is accepted by the form of its expression, of which a bound of the compiled size is told; only where that is over
//! the limit, compiling decides. So a hundred thousand rules cost their texts, and what is asked costs its compiled form.
//!
//! What is compiled lies beside its text. One list for all remembers which those are and drops what was not asked lately
//! when there is too much of it. It is one for the process since memory is; whether a text matches never depends on it.
//!
//! Invariant: an expression that needs more than the limit when compiled is refused when it is accepted, never later.
//! Invariant: what is kept compiled weighs at most [`KEPT`] by the bounds of the expressions.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};
use regex_syntax::utf8::Utf8Sequences;

/// How deep an expression may be nested.
const NEST_MAX: u32 = 64;

/// What a state of the automaton takes at most, in bytes, with what it leads to.
const STATE_BYTES: usize = 64;

/// States of every automaton: its beginning, its end, and what reads on to where a match begins.
const FRAME: usize = 16;

/// What a compiled expression takes beside its states, in bytes: search tables of a small one.
const BASE_BYTES: usize = 16 << 10;

/// The most bytes of compiled expressions, as they are weighed.
const KEPT: usize = 96 << 20;

/// Why a text is no regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is not one: what is wrong.
    Syntax(String),
    /// It needs more memory than this when compiled.
    TooLarge(usize),
}

/// A regular expression that was accepted.
#[derive(Clone)]
pub(super) struct Regular(Arc<Inner>);

struct Inner {
    text: Box<str>,
    weight: u32,
    /// Whether it was asked since it was looked at for dropping.
    asked: AtomicBool,
    compiled: RwLock<Option<Regex>>,
}

/// What is compiled, by and large the longest first.
static COMPILED: Mutex<Compiled> = Mutex::new(Compiled {
    queue: VecDeque::new(),
    weight: 0,
});

struct Compiled {
    queue: VecDeque<(Weak<Inner>, u32)>,
    weight: usize,
}

impl Regular {
    /// Accepts an expression that needs at most `most` bytes when compiled.
    pub(super) fn accept(text: &str, most: usize) -> Result<Self, Refused> {
        let parsed = ParserBuilder::new()
            .nest_limit(NEST_MAX)
            .build()
            .parse(text);
        let hir = parsed.map_err(|problem| Refused::Syntax(problem.to_string()))?;
        let bytes = match bound(&hir, most) {
            Some(bytes) => bytes,
            None => {
                let built = builder(text).size_limit(most).dfa_size_limit(most).build();
                built.map_err(|problem| match problem {
                    regex::Error::CompiledTooBig(_) => Refused::TooLarge(most),
                    problem => Refused::Syntax(problem.to_string()),
                })?;
                most
            }
        };
        Ok(Self(Arc::new(Inner {
            text: text.into(),
            // Forwards and backwards.
            weight: u32::try_from(BASE_BYTES + 2 * bytes).unwrap_or(u32::MAX),
            asked: AtomicBool::new(false),
            compiled: RwLock::new(None),
        })))
    }

    /// As it is written.
    pub(super) fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether it is found in a text.
    pub(super) fn is_match(&self, text: &str) -> bool {
        let inner = &self.0;
        let compiled = inner
            .compiled
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = &*compiled {
            // Written only where that changes something: the line is shared by all who ask.
            if !inner.asked.load(Ordering::Relaxed) {
                inner.asked.store(true, Ordering::Relaxed);
            }
            return regex.is_match(text);
        }
        drop(compiled);
        self.compile(text)
    }

    #[cold]
    fn compile(&self, text: &str) -> bool {
        let regex = builder(&self.0.text)
            .size_limit(usize::MAX)
            .dfa_size_limit(self.0.weight as usize)
            .build()
            .expect("it parsed when it was accepted, and its size was bounded");
        let found = regex.is_match(text);
        let mut compiled = self
            .0
            .compiled
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have been faster.
        let is_new = compiled.replace(regex).is_none();
        drop(compiled);
        if is_new {
            let mut all = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
            all.add(&self.0, KEPT);
        }
        found
    }

    #[cfg(test)]
    fn is_compiled(&self) -> bool {
        self.0.compiled.read().expect("nobody panicked").is_some()
    }
}

impl Compiled {
    fn add(&mut self, new: &Arc<Inner>, most: usize) {
        self.queue.push_back((Arc::downgrade(new), new.weight));
        self.weight += new.weight as usize;
        // Twice round at most: once to find what was asked, once to drop it.
        for _ in 0..self.queue.len() * 2 {
            if self.weight <= most {
                return;
            }
            let Some((old, weight)) = self.queue.pop_front() else {
                return;
            };
            if let Some(inner) = old.upgrade()
                && !inner.is_dropped()
            {
                self.queue.push_back((old, weight));
            } else {
                self.weight -= weight as usize;
            }
        }
    }
}

impl Inner {
    /// Drops the compiled form, unless it was asked lately or is being asked.
    fn is_dropped(&self) -> bool {
        if self.asked.swap(false, Ordering::Relaxed) {
            return false;
        }
        match self.compiled.try_write() {
            Ok(mut compiled) => {
                *compiled = None;
                true
            }
            Err(_) => false,
        }
    }
}

impl fmt::Debug for Regular {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regular").field(&self.0.text).finish()
    }
}

fn builder(text: &str) -> RegexBuilder {
    let mut builder = RegexBuilder::new(text);
    builder.nest_limit(NEST_MAX);
    builder
}

/// No fewer than the bytes of the automaton; `None`: more than `most`, perhaps.
fn bound(hir: &Hir, most: usize) -> Option<usize> {
    let states = states(hir, (most / STATE_BYTES).checked_sub(FRAME)?)?;
    Some((states + FRAME) * STATE_BYTES)
}

/// No fewer than the states of the automaton; `None`: more than `most`, perhaps.
fn states(hir: &Hir, most: usize) -> Option<usize> {
    let states = match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len() + 1,
        HirKind::Class(Class::Unicode(class)) => {
            let mut states = 2_usize;
            for range in class.ranges() {
                for sequence in Utf8Sequences::new(range.start(), range.end()) {
                    states += sequence.len() + 1;
                }
                if states > most {
                    return None;
                }
            }
            states
        }
        HirKind::Repetition(repetition) => {
            let copies = repetition.max.unwrap_or(repetition.min.saturating_add(1));
            let copies = usize::try_from(copies.max(1)).unwrap_or(usize::MAX);
            let each = states(&repetition.sub, most)?.saturating_add(2);
            each.saturating_mul(copies)
        }
        HirKind::Capture(capture) => states(&capture.sub, most)?.saturating_add(2),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            let mut all = parts.len() + 1;
            for part in parts {
                all = all.saturating_add(states(part, most)?);
                if all > most {
                    return None;
                }
            }
            all
        }
    };
    (states <= most).then_some(states)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 256 << 10;

    fn bound_of(text: &str) -> Option<usize> {
        let hir = ParserBuilder::new().build().parse(text).expect(text);
        bound(&hir, LIMIT)
    }

    #[test]
    fn what_is_within_the_bound_is_within_it_when_compiled() {
        for text in [
            "",
            "a",
            "^ord-[0-9]+-eu$",
            "for [a-z]* (today|tomorrow)",
            ".",
            ".*",
            "(?s).",
            "[^a]",
            r"\d",
            r"\w+",
            r"\s{3,9}",
            r"\pL",
            r"(?i)straße",
            "(?i)[k-s]{20}",
            "a{0,200}",
            "a{50,}",
            "(?:ab?){3}",
            "((((a))))",
            "x*y*?z+",
            "a|b|cd|e",
            r"[\u{0}-\u{10ffff}]",
            "(?-u:a)",
            r"\bword\b",
            "[α-ω]{5}",
            "(?:[a-f]|[0-9]{2,4}){10}",
            "(?:a|)",
            "(a?){30}",
            r"^[\w.+-]+@[\w-]+\.[\w.-]+$",
            "(?m)^x$",
            "(?x) a b c",
        ] {
            let Some(bytes) = bound_of(text) else {
                continue;
            };
            let built = builder(text).size_limit(bytes).build();
            built.unwrap_or_else(|problem| panic!("{text}, {bytes} bytes: {problem}"));
        }
        for text in [
            ".",
            "^ord-[0-9]+-eu$",
            r"\d{4}-\d{2}",
            "for [a-z]* (today|tomorrow)",
        ] {
            assert!(bound_of(text).is_some(), "{text} need not be compiled");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_as_compiling_would() {
        for text in [
            "(?:a{1000}){1000}",
            "a{100000}",
            r"\w{100}",
            r"(?:\pL|x){90}",
            r"\w{3}",
            "a{5000}",
            r"\w\w\w\w",
        ] {
            let built = builder(text).size_limit(LIMIT).build();
            assert_eq!(
                Regular::accept(text, LIMIT).is_ok(),
                built.is_ok(),
                "{text}"
            );
        }
        let refused = |text| Regular::accept(text, LIMIT).map(|_| ());
        assert_eq!(refused("a{100000}"), Err(Refused::TooLarge(LIMIT)));
        let deep = format!("{}a{}", "(".repeat(100), ")".repeat(100));
        for text in ["(", "[b-a]", "(?=a)", r"(a)\1", r"\q", &deep] {
            assert!(matches!(refused(text), Err(Refused::Syntax(_))), "{text}");
        }
    }

    #[test]
    fn what_was_not_asked_lately_is_dropped_and_compiled_again() {
        let regulars: Vec<Regular> = (0..10)
            .map(|n| Regular::accept(&format!("^x{n}"), LIMIT).expect("valid"))
            .collect();
        let mut all = Compiled {
            queue: VecDeque::new(),
            weight: 0,
        };
        let most = regulars
            .iter()
            .take(3)
            .map(|regular| regular.0.weight as usize)
            .sum();
        let [hot, ..] = &regulars[..] else {
            panic!("there are ten");
        };
        for (n, regular) in regulars.iter().enumerate() {
            assert!(!regular.is_compiled());
            assert!(regular.is_match(&format!("x{n}")));
            all.add(&regular.0, most);
            assert!(all.weight <= most && all.queue.len() <= 3);
            assert!(hot.is_match("x0") && hot.is_compiled());
        }
        let kept = regulars.iter().filter(|regular| regular.is_compiled());
        assert_eq!(kept.count(), 3);
        for (n, regular) in regulars.iter().enumerate() {
            assert!(
                regular.is_match(&format!("x{n}")),
                "also after it was dropped"
            );
        }
        drop(regulars);
        let new = Regular::accept("z", most).expect("valid");
        for _ in 0..10 {
            all.add(&new.0, most);
        }
        assert!(all.weight <= most, "those that are gone leave the list");
    }

    proptest! {
        #[test]
        fn no_expression_is_larger_than_its_bound(
            text in r"([ab.é]|\\[dws]|\[a-z\]|\(a|\)|\||[*+?]|\{[0-9],[1-4]?[0-9]\}|\(\?i\)){0,12}",
        ) {
            let parsed = ParserBuilder::new().build().parse(&text);
            if let Some(bytes) = parsed.ok().and_then(|hir| bound(&hir, LIMIT)) {
                prop_assert!(builder(&text).size_limit(bytes).build().is_ok(), "{}: {}", text, bytes);
            }
        }
    }
}
