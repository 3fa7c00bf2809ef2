//! Rust source as far as these tests must understand it: tokens, modules, paths. Comments and literals are blank.

#![expect(
    clippy::indexing_slicing,
    reason = "a scanner that reads past an end is to fail its test"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file of the repository.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One file of `src/`.
pub(crate) struct SourceFile {
    /// From the repository's root.
    pub(crate) path: String,
    /// The module that it is: empty for `lib.rs` and `main.rs`.
    pub(crate) module: Vec<String>,
    /// It holds tests and nothing else.
    pub(crate) test: bool,
    pub(crate) tokens: Vec<Token>,
}

/// A word or a sign outside comments and literals.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// From 1.
    pub(crate) line: usize,
    /// Within `#[cfg(test)] mod … { }`.
    pub(crate) test: bool,
    /// Modules within the file that it stands in.
    pub(crate) inline: Vec<String>,
}

/// All files of `src/`, by path.
pub(crate) fn files() -> Vec<SourceFile> {
    let mut paths = Vec::new();
    collect(&root().join("src"), &mut paths);
    paths.sort();
    paths.iter().map(|path| SourceFile::open(path)).collect()
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of src") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

impl SourceFile {
    fn open(path: &Path) -> Self {
        let path = path.strip_prefix(root()).expect("below the root");
        let path = path.to_str().expect("UTF-8").to_owned();
        Self::new(&path, &read(&path))
    }

    pub(crate) fn new(path: &str, text: &str) -> Self {
        let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
        if matches!(
            module.last().map(String::as_str),
            Some("mod" | "lib" | "main")
        ) {
            module.pop();
        }
        Self {
            path: path.to_owned(),
            test: module.iter().any(|name| name == "tests"),
            module,
            tokens: place(tokens(&blank(text))),
        }
    }

    /// Lines with code, tests left out.
    pub(crate) fn code_lines(&self) -> usize {
        let mut lines: Vec<usize> = self
            .tokens
            .iter()
            .filter(|token| !token.test && !self.test)
            .map(|token| token.line)
            .collect();
        lines.dedup();
        lines.len()
    }

    /// Every path from the crate's root that the file names: `use` trees taken apart, `super` resolved.
    pub(crate) fn paths(&self) -> Vec<(Vec<String>, &Token)> {
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(token) = self.tokens.get(at) {
            at += 1;
            let text = |at: usize| self.tokens.get(at).map(|token| token.text.as_str());
            if text(at) != Some("::") || at >= 2 && self.tokens[at - 2].text == "::" {
                continue;
            }
            let mut base = match token.text.as_str() {
                "crate" => Vec::new(),
                "self" | "super" => self.module.iter().chain(&token.inline).cloned().collect(),
                _ => continue,
            };
            if token.text == "super" {
                base.pop();
                while text(at) == Some("::") && text(at + 1) == Some("super") {
                    base.pop();
                    at += 2;
                }
            }
            let mut paths = Vec::new();
            at = self.tree(at, &base, &mut paths);
            found.extend(paths.into_iter().map(|path| (path, token)));
        }
        found
    }

    /// Reads what follows a path's begin: `::name`, `::{…}`, `::*`; returns where it ends.
    fn tree(&self, mut at: usize, base: &[String], found: &mut Vec<Vec<String>>) -> usize {
        let text = |at: usize| self.tokens.get(at).map_or("", |token| token.text.as_str());
        let mut path = base.to_vec();
        while text(at) == "::" {
            at += 1;
            match text(at) {
                "{" => {
                    at += 1;
                    while !matches!(text(at), "}" | "") {
                        if text(at) == "," {
                            at += 1;
                            continue;
                        }
                        let mut inner = path.clone();
                        inner.push(text(at).to_owned());
                        at = self.tree(at + 1, &inner, found);
                        if text(at) == "as" {
                            at += 2;
                        }
                    }
                    return at + 1;
                }
                // A turbofish: the path ends.
                "<" => break,
                name => {
                    path.push(name.to_owned());
                    at += 1;
                }
            }
        }
        found.push(path);
        at
    }
}

/// The text with comments and the contents of literals replaced by blanks, line by line as before.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_or_comment(&chars, at).unwrap_or(at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(
                chars[at..end]
                    .iter()
                    .map(|c| if *c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends, if one does.
fn literal_or_comment(chars: &[char], at: usize) -> Option<usize> {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => Some(at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => Some(block_comment(chars, at)),
        ['"', ..] => Some(quoted(chars, at, '"')),
        // A character, not a lifetime: 'x' or '\…'.
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => Some(quoted(chars, at, '\'')),
        ['r', next, ..] if matches!(next, '"' | '#') && !follows_word(chars, at) => raw(chars, at),
        _ => None,
    }
}

fn follows_word(chars: &[char], at: usize) -> bool {
    // `br"…"` is a literal too; any other letter before makes it the end of a name.
    let word = |c: &char| c.is_alphanumeric() || *c == '_';
    match chars[..at] {
        [.., before, 'b'] => word(&before),
        ['b'] => false,
        [.., before] => word(&before),
        [] => false,
    }
}

fn block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match chars[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    break;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn quoted(chars: &[char], at: usize, quote: char) -> usize {
    let mut at = at + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    at
}

fn raw(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let open = at + 1 + hashes;
    // `r#name` is a name.
    (chars.get(open) == Some(&'"')).then_some(())?;
    let close: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let length = chars[open + 1..]
        .windows(close.len())
        .position(|window| window == close)?;
    Some(open + 1 + length + close.len())
}

fn tokens(text: &str) -> Vec<(String, usize)> {
    let mut found: Vec<(String, usize)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut word = String::new();
        for c in line.chars().chain([' ']) {
            if c.is_alphanumeric() || c == '_' {
                word.push(c);
                continue;
            }
            if !word.is_empty() {
                found.push((std::mem::take(&mut word), index + 1));
            }
            match found.last_mut() {
                Some((last, at)) if c == ':' && last == ":" && *at == index + 1 => last.push(':'),
                _ if c.is_whitespace() => {}
                _ => found.push((c.to_string(), index + 1)),
            }
        }
    }
    found
}

/// Tells each token the module within the file that it stands in.
fn place(found: Vec<(String, usize)>) -> Vec<Token> {
    let mut blocks: Vec<Option<(String, bool)>> = Vec::new();
    let mut placed: Vec<Token> = Vec::with_capacity(found.len());
    for (text, line) in found {
        let before = |back: usize| {
            placed
                .len()
                .checked_sub(back)
                .map(|at| placed[at].text.as_str())
        };
        let opens = (text == "{").then(|| {
            let name = before(1).filter(|_| before(2) == Some("mod"))?;
            Some((name.to_owned(), is_test_module(&placed)))
        });
        if text == "}" {
            blocks.pop();
        }
        placed.push(Token {
            text,
            line,
            test: blocks.iter().flatten().any(|(_, test)| *test),
            inline: blocks
                .iter()
                .flatten()
                .map(|(name, _)| name.clone())
                .collect(),
        });
        if let Some(block) = opens {
            blocks.push(block);
        }
    }
    placed
}

/// Whether the tokens end with `#[cfg(test)] … mod name`.
fn is_test_module(placed: &[Token]) -> bool {
    let from = placed.len().saturating_sub(24);
    let tail: Vec<&str> = placed[from..]
        .iter()
        .map(|token| token.text.as_str())
        .collect();
    let item = tail
        .iter()
        .rposition(|text| matches!(*text, ";" | "}"))
        .map_or(0, |at| at + 1);
    tail[item..]
        .windows(4)
        .any(|window| window == ["cfg", "(", "test", ")"])
}

#[test]
fn paths_are_found_in_trees_and_expressions_and_not_in_comments_or_literals() {
    let text = r##"
        //! crate::comment
        use crate::{a::b, c::{self, d as e}};
        use std::io;
        /* crate::block /* crate::nested */ */
        fn f<'a>(x: &'a str) -> char { let _ = "crate::text\""; crate::g::h::<u8>(); 'c' }
        const RAW: &str = r#"crate::raw " "#;
        pub(crate) struct S;
        macro_rules! m { () => { $crate::m::n } }
        #[cfg(test)]
        mod tests { use super::*; use super::super::sibling::x; use crate::testing::fake; }
    "##;
    let file = SourceFile::new("src/one/two.rs", text);
    let paths: Vec<(String, bool)> = file
        .paths()
        .into_iter()
        .map(|(path, token)| (path.join("::"), token.test))
        .collect();
    let expected = [
        ("a::b", false),
        ("c::self", false),
        ("c::d", false),
        ("g::h", false),
        ("m::n", false),
        ("one::two::*", true),
        ("one::sibling::x", true),
        ("testing::fake", true),
    ];
    assert_eq!(paths, expected.map(|(path, test)| (path.to_owned(), test)));
    assert_eq!(file.code_lines(), 8, "neither comments nor tests count");
}
