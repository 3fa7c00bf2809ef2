//! `posthaste filter`: tries filters on events, without Kafka and without settings.
//!
//! Rules and events come from arguments, files and standard input; answers go to standard output.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::publish::read_file;
use super::{Output, WrongUsage, exit};
use crate::domain::filter::json::{Document, Item};
use crate::domain::filter::{Condition, Dialect, Filter, FilterError};

/// Tries filters.
#[derive(Debug, Clone, clap::Args)]
pub struct FilterArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Say whether an event matches, and which condition decided: exit code 0 if it does, 1 if not, 64 if the rule is wrong.
    Test {
        #[command(flatten)]
        rule: Rule,
        /// The file that holds the event; `-` is standard input.
        #[arg(long, value_name = "FILE")]
        event: PathBuf,
    },
    /// Read lines {"id", "dialect", "rule", "event"}, write lines {"id", "match"} or {"id", "error": {"message", "pointer"}}.
    Batch,
    /// Show what a rule compiles to, and by which values of an event it is found among many.
    Explain {
        #[command(flatten)]
        rule: Rule,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct Rule {
    /// eventbridge, hookdeck or shopify.
    #[arg(long)]
    dialect: Dialect,
    /// The rule, or `@` and the file that holds it.
    #[arg(long, value_name = "RULE|@FILE")]
    rule: String,
}

impl Rule {
    fn compile(&self) -> anyhow::Result<Result<Filter, FilterError>> {
        let text = match self.rule.strip_prefix('@') {
            Some(file) => read_file(Path::new(file))?,
            None => self.rule.clone().into_bytes(),
        };
        Ok(match self.dialect {
            Dialect::Shopify => {
                let text = String::from_utf8(text)
                    .map_err(|error| WrongUsage(format!("--rule: {error}")))?;
                Filter::compile(self.dialect, &Value::from(text))
            }
            Dialect::EventBridge | Dialect::Hookdeck => Filter::compile_text(self.dialect, &text),
        })
    }
}

/// Runs the command; returns the exit code.
///
/// # Errors
/// If a file cannot be read, an event is not JSON, or the output is closed.
pub fn run(
    args: &FilterArgs,
    output: Output,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    match &args.command {
        Command::Test { rule, event } => test(rule, event, output, input, out),
        Command::Batch => batch(input, out),
        Command::Explain { rule } => {
            let filter = match rule.compile()? {
                Ok(filter) => filter,
                Err(error) => return refuse(&error, output, out),
            };
            let access = filter.access_path();
            match output {
                Output::Text => writeln!(out, "{filter}\n\n{access}")?,
                Output::Json => {
                    let compiled = filter.to_string();
                    let dialect = rule.dialect.name();
                    writeln!(
                        out,
                        "{}",
                        json!({"dialect": dialect, "compiled": compiled, "access": access})
                    )?;
                }
            }
            Ok(exit::FINE)
        }
    }
}

/// Tells why a rule is refused.
fn refuse(error: &FilterError, output: Output, out: &mut dyn Write) -> anyhow::Result<u8> {
    match output {
        Output::Text => Err(WrongUsage(error.to_string()).into()),
        Output::Json => {
            writeln!(out, "{}", json!({"error": error_json(error)}))?;
            Ok(exit::USAGE)
        }
    }
}

fn error_json(error: &FilterError) -> Value {
    let (message, pointer) = (error.to_string(), &error.pointer);
    match error.column {
        Some(column) => json!({"message": message, "pointer": pointer, "column": column}),
        None => json!({"message": message, "pointer": pointer}),
    }
}

fn test(
    rule: &Rule,
    event: &Path,
    output: Output,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let filter = match rule.compile()? {
        Ok(filter) => filter,
        Err(error) => return refuse(&error, output, out),
    };
    let bytes = if event == Path::new("-") {
        let mut bytes = Vec::new();
        input
            .read_to_end(&mut bytes)
            .context("standard input cannot be read")?;
        bytes
    } else {
        read_file(event)?
    };
    let document = Document::parse(&bytes).map_err(|error| {
        WrongUsage(format!(
            "{}: the event is malformed: {error}",
            event.display()
        ))
    })?;
    let explanation = filter.explain(document.root());
    match output {
        Output::Text => {
            writeln!(
                out,
                "{}",
                if explanation.matched {
                    "match"
                } else {
                    "no match"
                }
            )?;
            if let Some(condition) = &explanation.decided {
                writeln!(out, "  {}", told(condition))?;
            }
        }
        Output::Json => {
            let decided = explanation.decided.as_ref().map(|condition| {
                json!({
                    "path": condition.path,
                    "wanted": condition.wanted,
                    "found": condition.found,
                    "holds": condition.holds,
                })
            });
            writeln!(
                out,
                "{}",
                json!({"match": explanation.matched, "decided": decided})
            )?;
        }
    }
    Ok(if explanation.matched {
        exit::FINE
    } else {
        exit::NO
    })
}

fn told(condition: &Condition) -> String {
    let place = if condition.path.is_empty() {
        "the event"
    } else {
        &condition.path
    };
    let holds = if condition.holds {
        "holds"
    } else {
        "does not hold"
    };
    let found = condition.found.as_deref().unwrap_or("nothing");
    format!(
        "the condition on {place} {holds}: wanted {}; found {found}",
        condition.wanted
    )
}

/// Answers line by line; a line that is wrong gets an error and does not end the command.
fn batch(input: &mut dyn BufRead, out: &mut dyn Write) -> anyhow::Result<u8> {
    let mut out = std::io::BufWriter::new(out);
    let mut line = Vec::new();
    loop {
        line.clear();
        if input
            .read_until(b'\n', &mut line)
            .context("standard input cannot be read")?
            == 0
        {
            break;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        writeln!(out, "{}", answer(&line))?;
    }
    out.flush()?;
    Ok(exit::FINE)
}

fn answer(line: &[u8]) -> String {
    let document = match Document::parse(line) {
        Ok(document) => document,
        Err(error) => {
            return json!({"id": null, "error": {"message": error.to_string(), "pointer": ""}})
                .to_string();
        }
    };
    let line = document.root();
    // As it was written, whatever it is.
    let id = line.member("id").unwrap_or(Item::null());
    match verdict(line) {
        Ok(matched) => format!("{{\"id\":{id},\"match\":{matched}}}"),
        Err(error) => format!("{{\"id\":{id},\"error\":{error}}}"),
    }
}

fn verdict(line: Item<'_>) -> Result<bool, Value> {
    let missing = |name: &str| json!({"message": format!("the line has no {name:?}; it is {{\"id\", \"dialect\", \"rule\", \"event\"}}"), "pointer": ""});
    let part = |name: &str| line.member(name).ok_or_else(|| missing(name));
    let dialect = part("dialect")?;
    let dialect: Dialect = dialect
        .text()
        .unwrap_or_default()
        .parse()
        .map_err(|message: String| json!({"message": message, "pointer": ""}))?;
    let filter =
        Filter::compile_item(dialect, part("rule")?).map_err(|error| error_json(&error))?;
    Ok(filter.matches(part("event")?))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        filter: FilterArgs,
    }

    fn ran(words: &[&str], output: Output, input: &str) -> (anyhow::Result<u8>, String) {
        let words = ["filter"].iter().chain(words);
        let line = Line::try_parse_from(words).expect("a command line");
        let mut out = Vec::new();
        let code = run(&line.filter, output, &mut input.as_bytes(), &mut out);
        (code, String::from_utf8(out).expect("UTF-8"))
    }

    const RULE: &str = r#"{"state":["paid"]}"#;

    #[test]
    fn a_test_says_which_condition_decided_with_both_values() {
        let words = [
            "test",
            "--dialect",
            "eventbridge",
            "--rule",
            RULE,
            "--event",
            "-",
        ];
        let (code, told) = ran(&words, Output::Text, r#"{"state":"new"}"#);
        assert_eq!(code.expect("an answer"), exit::NO);
        assert_eq!(
            told,
            "no match\n  the condition on /state does not hold: wanted \"paid\"; found \"new\"\n"
        );
        let (code, told) = ran(&words, Output::Json, r#"{"state":["paid"]}"#);
        assert_eq!(code.expect("an answer"), exit::FINE);
        assert_eq!(
            told.parse::<Value>().expect("JSON"),
            json!({"match": true, "decided": {"path": "/state/0", "wanted": "\"paid\"", "found": "\"paid\"", "holds": true}})
        );
    }

    #[test]
    fn a_wrong_rule_or_event_is_wrong_usage() {
        let words = [
            "test",
            "--dialect",
            "eventbridge",
            "--rule",
            "{}",
            "--event",
            "-",
        ];
        let error = ran(&words, Output::Text, "{}").0.expect_err("a wrong rule");
        assert_eq!(super::super::exit_code(&error), exit::USAGE);
        let (code, told) = ran(&words, Output::Json, "{}");
        assert_eq!(code.expect("told"), exit::USAGE);
        assert!(told.contains("empty objects are not allowed"), "{told}");
        let words = [
            "test",
            "--dialect",
            "eventbridge",
            "--rule",
            RULE,
            "--event",
            "-",
        ];
        let error = ran(&words, Output::Text, "{").0.expect_err("a wrong event");
        assert!(error.to_string().contains("malformed"), "{error}");
    }

    #[test]
    fn a_batch_answers_line_by_line() {
        let input = [
            r#"{"id":1,"dialect":"eventbridge","rule":{"n":[12345678901234567890123]},"event":{"n":12345678901234567890123}}"#,
            r#"{"id":"b","dialect":"shopify","rule":"state:paid","event":{"state":"new"}}"#,
            r#"{"id":"c","dialect":"hookdeck","rule":{"a":{"$foo":1}},"event":{}}"#,
            r#"{"id":"d","dialect":"shopify","rule":"paid","event":{}}"#,
            r#"{"id":"e","dialect":"sql","rule":"paid","event":{}}"#,
            "nonsense",
            "",
        ];
        let (code, told) = ran(&["batch"], Output::Text, &input.join("\n"));
        assert_eq!(code.expect("answers"), exit::FINE);
        let lines: Vec<Value> = told
            .lines()
            .map(|line| line.parse().expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines.first(), Some(&json!({"id": 1, "match": true})));
        assert_eq!(lines.get(1), Some(&json!({"id": "b", "match": false})));
        let pointer = |line: usize| lines.get(line)?.pointer("/error/pointer")?.as_str();
        assert_eq!(pointer(2), Some("/a/$foo"));
        assert_eq!(pointer(3), Some(""));
        assert_eq!(
            lines.get(3).and_then(|line| line.pointer("/error/column")),
            Some(&json!(1))
        );
        assert!(told.contains("there is no dialect"));
        assert!(told.contains("not JSON"));
    }

    #[test]
    fn explain_shows_the_compiled_form_and_the_access_path() {
        let rule = "a:1 OR b:>2 AND -c:*";
        let (code, told) = ran(
            &["explain", "--dialect", "shopify", "--rule", rule],
            Output::Text,
            "",
        );
        assert_eq!(code.expect("shown"), exit::FINE);
        assert_eq!(
            told,
            "all of\n  any of\n    a: = \"1\"\n    b: > \"2\"\n  not\n    c: any value but null\n\n\
             asked where an event has\n  a: \"1\"\n  or a: the number 1\n  or b: a number from 2 to inf\n"
        );
    }
}
