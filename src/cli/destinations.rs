//! `posthaste destinations`: the documents in the topic `destinations`, read and written as any other program would.
//!
//! Invariant: secrets are never shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::publish::read_file;
use super::redact::{is_redacted, redact, redact_url, restore};
use super::{Output, WrongUsage, exit};
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::domain::ids::{DestinationId, TenantId};
use crate::kafka::names::Names;
use crate::kafka::publish::{Place, Publisher};
use crate::kafka::snapshot::{self, Row};
use crate::wire::NewRecord;

/// How long reading the topic, and writing one record, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a refused document comes to where it was to be written.
const UNWRITTEN: &str = "nothing was written";

/// Checks a document; returns whose it is.
pub type Validate<'a> = &'a (dyn Fn(&[u8]) -> Result<DestinationId, Vec<Fault>> + Sync);

/// Shows and changes destinations.
#[derive(Debug, Clone, clap::Args)]
pub struct DestinationsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Shows all destinations
    List {
        /// Only those of this tenant
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Shows the document of one destination, without its secrets
    Get {
        /// `tenant/id`, or `id` alone in the tenant `default`
        #[arg(value_parser = id)]
        id: DestinationId,
    },
    /// Writes the document of one destination; secrets that it shows as `[redacted]` stay as they are
    Put {
        /// Whose document it has to be (optional), and the file that holds it (JSON); `-` or nothing: standard input
        #[arg(value_name = "[ID] FILE", num_args = 0..=2)]
        from: Vec<String>,
    },
    /// Deletes one destination; what waits for it goes to the dead letters
    Delete {
        /// `tenant/id`, or `id` alone in the tenant `default`
        #[arg(value_parser = id)]
        id: DestinationId,
    },
    /// Sends one marked sample event to a destination, as any event would be sent, and says what came of it
    Test {
        /// `tenant/id`, or `id` alone in the tenant `default`; or a file that holds a document (JSON); `-`: standard input
        #[arg(value_name = "ID|FILE")]
        what: String,
    },
}

fn id(text: &str) -> Result<DestinationId, String> {
    DestinationId::parse(text).map_err(|error| error.to_string())
}

/// Where a command reads and writes.
struct Terminal<'a> {
    output: Output,
    input: &'a mut (dyn Read + Send),
    out: &'a mut (dyn Write + Send),
}

/// Runs the command; returns the exit code: 1 if there is no such destination or the document is refused.
///
/// # Errors
/// If Kafka or the file cannot be read or written; [`exit_code`](super::exit_code) says with which code to end.
pub async fn run(
    args: &DestinationsArgs,
    settings: &Settings,
    validate: Validate<'_>,
    output: Output,
    input: &mut (dyn Read + Send),
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let mut terminal = Terminal { output, input, out };
    match &args.command {
        Command::List { tenant } => list(settings, tenant.as_deref(), &mut terminal).await,
        Command::Get { id } => get(settings, id, &mut terminal).await,
        Command::Put { from } => put(settings, from, validate, &mut terminal).await,
        Command::Delete { id } => delete(settings, id, &mut terminal).await,
        Command::Test { what } => test(settings, what, &mut terminal).await,
    }
}

async fn list(
    settings: &Settings,
    tenant: Option<&str>,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<u8> {
    let rows: Vec<Shown> = read(settings)
        .await?
        .iter()
        .map(|(key, row)| Shown::new(key, row))
        .filter(|shown| tenant.is_none_or(|tenant| shown.tenant() == tenant))
        .collect();
    match terminal.output {
        Output::Json => writeln!(terminal.out, "{}", serde_json::to_string_pretty(&rows)?)?,
        Output::Text => terminal.out.write_all(table(&rows).as_bytes())?,
    }
    Ok(exit::FINE)
}

async fn get(
    settings: &Settings,
    id: &DestinationId,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<u8> {
    let rows = read(settings).await?;
    let Some((key, row)) = rows.get_key_value(id.as_str().as_bytes()) else {
        return terminal.missing(id);
    };
    let shown = Shown::new(key, row);
    match (terminal.output, &shown.document) {
        (Output::Json, _) => writeln!(terminal.out, "{}", serde_json::to_string_pretty(&shown)?)?,
        (Output::Text, Some(document)) => {
            writeln!(terminal.out, "{}", serde_json::to_string_pretty(document)?)?;
        }
        (Output::Text, None) => writeln!(terminal.out, "the document is not JSON")?,
    }
    Ok(exit::FINE)
}

/// Whose document `put` is given, if that was said, and in which file it stands.
fn source(from: &[String]) -> anyhow::Result<(Option<DestinationId>, PathBuf)> {
    let named = |id: &str| DestinationId::parse(id).map_err(|error| WrongUsage(error.to_string()));
    Ok(match from {
        [] => (None, "-".into()),
        [one] if one == "-" || Path::new(one).exists() => (None, one.into()),
        [one] => match named(one) {
            Ok(id) => (Some(id), "-".into()),
            // Neither: the file's error says more.
            Err(_) => (None, one.into()),
        },
        [id, file, ..] => (Some(named(id)?), file.into()),
    })
}

async fn put(
    settings: &Settings,
    from: &[String],
    validate: Validate<'_>,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<u8> {
    let (expected, file) = source(from)?;
    let document = terminal.read(&file)?;
    let checked = match with_secrets(settings, document).await? {
        Ok(document) => validate(&document).map(|id| (id, document)),
        Err(faults) => Err(faults),
    };
    match checked {
        Ok((id, _)) if expected.as_ref().is_some_and(|expected| *expected != id) => {
            let message = format!("the document is that of `{id}`, another one was named");
            terminal.refused(&[Fault::new("/id", message)], UNWRITTEN)
        }
        Ok((id, document)) => {
            let place = write(settings, &id, Some(document.into())).await?;
            terminal.done(&id, "written", &place)
        }
        Err(faults) => terminal.refused(&faults, UNWRITTEN),
    }
}

async fn delete(
    settings: &Settings,
    id: &DestinationId,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<u8> {
    if !read(settings).await?.contains_key(id.as_str().as_bytes()) {
        return terminal.missing(id);
    }
    let place = write(settings, id, None).await?;
    terminal.done(id, "deleted", &place)
}

async fn test(settings: &Settings, what: &str, terminal: &mut Terminal<'_>) -> anyhow::Result<u8> {
    let document = match source(&[what.to_owned()])? {
        (Some(id), _) => match read(settings).await?.get(id.as_str().as_bytes()) {
            Some(row) => row.value.to_vec(),
            None => return terminal.missing(&id),
        },
        (None, file) => match with_secrets(settings, terminal.read(&file)?).await? {
            Ok(document) => document,
            Err(faults) => return terminal.refused(&faults, "nothing was sent"),
        },
    };
    match super::test::test(settings, &document).await? {
        Ok(tested) => tested.tell(terminal.output, terminal.out),
        Err(faults) => terminal.refused(&faults, "nothing was sent"),
    }
}

/// The document with the stored secrets where it shows them as redacted; the bytes as they are where it shows none.
async fn with_secrets(
    settings: &Settings,
    document: Vec<u8>,
) -> anyhow::Result<Result<Vec<u8>, Vec<Fault>>> {
    let Ok(shown) = serde_json::from_slice::<Value>(&document) else {
        // Whoever validates says what is wrong with it.
        return Ok(Ok(document));
    };
    if !is_redacted(&shown) {
        return Ok(Ok(document));
    }
    let stored: Option<Value> = match id_of(&shown) {
        Some(id) => read(settings)
            .await?
            .get(id.as_str().as_bytes())
            .and_then(|row| serde_json::from_slice(&row.value).ok()),
        None => None,
    };
    Ok(match restore(&shown, stored.as_ref()) {
        Ok(restored) => Ok(serde_json::to_vec_pretty(&restored)?),
        Err(faults) => Err(faults),
    })
}

/// Whose document it says it is.
fn id_of(document: &Value) -> Option<DestinationId> {
    let tenant = match document.get("tenant") {
        None => TenantId::default_tenant(),
        Some(tenant) => TenantId::new(tenant.as_str()?).ok()?,
    };
    DestinationId::new(&tenant, document.get("id")?.as_str()?).ok()
}

async fn read(settings: &Settings) -> anyhow::Result<BTreeMap<Bytes, Row>> {
    let topic = Names::new(&settings.topics.prefix).destinations;
    Ok(snapshot::read(settings, &topic, PATIENCE).await?)
}

async fn write(
    settings: &Settings,
    id: &DestinationId,
    value: Option<Bytes>,
) -> anyhow::Result<Place> {
    let topic = Names::new(&settings.topics.prefix).destinations;
    let record = NewRecord {
        key: Some(Bytes::copy_from_slice(id.as_str().as_bytes())),
        value,
        headers: Vec::new(),
    };
    let publisher = Publisher::new(settings, PATIENCE)?;
    Ok(publisher.write(&topic, Some(0), &record).await?)
}

impl Terminal<'_> {
    fn done(&mut self, id: &DestinationId, what: &str, place: &Place) -> anyhow::Result<u8> {
        match self.output {
            Output::Text => writeln!(self.out, "{id} {what}, version {}", place.offset)?,
            Output::Json => {
                let answer =
                    serde_json::json!({"id": id.as_str(), "result": what, "version": place.offset});
                writeln!(self.out, "{answer}")?;
            }
        }
        Ok(exit::FINE)
    }

    fn missing(&mut self, id: &DestinationId) -> anyhow::Result<u8> {
        match self.output {
            Output::Text => writeln!(self.out, "there is no destination {id}")?,
            Output::Json => {
                let answer = serde_json::json!({"id": id.as_str(), "result": "missing"});
                writeln!(self.out, "{answer}")?;
            }
        }
        Ok(exit::NO)
    }

    /// The bytes of a file, or of standard input for `-`.
    fn read(&mut self, file: &Path) -> anyhow::Result<Vec<u8>> {
        if file != Path::new("-") {
            return read_file(file);
        }
        let mut document = Vec::new();
        self.input
            .read_to_end(&mut document)
            .context("standard input cannot be read")?;
        Ok(document)
    }

    fn refused(&mut self, faults: &[Fault], effect: &str) -> anyhow::Result<u8> {
        match self.output {
            Output::Text => {
                writeln!(self.out, "the document is refused; {effect}")?;
                for fault in faults {
                    writeln!(self.out, "  {fault}")?;
                }
            }
            Output::Json => {
                let answer = serde_json::json!({"result": "refused", "faults": faults});
                writeln!(self.out, "{answer}")?;
            }
        }
        Ok(exit::NO)
    }
}

/// A destination as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    version: i64,
    /// `None` if the record's value is not JSON.
    document: Option<Value>,
}

impl Shown {
    fn new(key: &Bytes, row: &Row) -> Self {
        Self {
            id: String::from_utf8_lossy(key).into_owned(),
            version: row.offset,
            document: serde_json::from_slice(&row.value)
                .ok()
                .map(|document| redact(&document)),
        }
    }

    fn tenant(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }

    /// The sink's type, where it sends to, and whether it does.
    fn columns(&self) -> [String; 3] {
        let Some(document) = &self.document else {
            return ["(not JSON)".to_owned(), String::new(), String::new()];
        };
        let sink = document.get("sink");
        let field = |name: &str| sink.and_then(|sink| sink.get(name)).and_then(Value::as_str);
        let target = ["url", "queue_url", "event_bus", "topic", "source"]
            .into_iter()
            .find_map(field)
            .map(|target| redact_url(target).chars().take(60).collect())
            .unwrap_or_default();
        let enabled = document.get("enabled") != Some(&Value::Bool(false));
        [
            field("type").unwrap_or("(none)").to_owned(),
            target,
            if enabled { "yes" } else { "no" }.to_owned(),
        ]
    }
}

/// A table for people. What comes from documents is shown without control characters.
fn table(rows: &[Shown]) -> String {
    let head = ["DESTINATION", "SINK", "TARGET", "ENABLED", "VERSION"].map(str::to_owned);
    let lines: Vec<[String; 5]> = std::iter::once(head)
        .chain(rows.iter().map(|shown| {
            let [sink, target, enabled] = shown.columns();
            [
                shown.id.clone(),
                sink,
                target,
                enabled,
                shown.version.to_string(),
            ]
            .map(printable)
        }))
        .collect();
    let mut widths = [0; 5];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(widths) {
            write!(row, "{cell:width$}  ").expect("a String takes all text");
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn printable(text: String) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    fn shown(key: &str, offset: i64, value: &[u8]) -> Shown {
        Shown::new(
            &Bytes::copy_from_slice(key.as_bytes()),
            &Row {
                offset,
                timestamp_ms: None,
                value: Bytes::copy_from_slice(value),
            },
        )
    }

    #[test]
    fn the_table_shows_where_each_destination_sends_to_and_no_secret() {
        let url =
            json!({"sink": {"type": "webhook", "url": "https://u:canary@example.com/h?k=canary"}});
        let queue =
            json!({"enabled": false, "sink": {"type": "sqs", "queue_url": "https://sqs/q"}});
        let text = table(&[
            shown("acme/orders", 7, url.to_string().as_bytes()),
            shown("default/q", 12, queue.to_string().as_bytes()),
            shown("bad\u{1b}[2J", 13, b"{"),
        ]);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines,
            [
                vec!["DESTINATION", "SINK", "TARGET", "ENABLED", "VERSION"],
                vec![
                    "acme/orders",
                    "webhook",
                    "https://%5Bredacted%5D@example.com/h?[redacted]",
                    "yes",
                    "7"
                ],
                vec!["default/q", "sqs", "https://sqs/q", "no", "12"],
                vec!["bad\u{fffd}[2J", "(not", "JSON)", "13"],
            ]
        );
    }

    #[test]
    fn a_document_tells_whose_it_is() {
        for (document, expected) in [
            (json!({"id": "orders"}), Some("default/orders")),
            (
                json!({"tenant": "acme", "id": "orders"}),
                Some("acme/orders"),
            ),
            (json!({"tenant": 1, "id": "orders"}), None),
            (json!({"tenant": "acme"}), None),
            (json!([]), None),
        ] {
            assert_eq!(
                id_of(&document).as_ref().map(DestinationId::as_str),
                expected
            );
        }
    }

    #[test]
    fn arguments_are_checked() {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: DestinationsArgs,
        }
        for (line, fits) in [
            ("list", true),
            ("list --tenant acme", true),
            ("get acme/orders", true),
            ("get ACME/orders", false),
            ("get", false),
            ("put -", true),
            ("put file.json", true),
            ("delete orders", true),
            ("test acme/orders", true),
            ("test -", true),
            ("test", false),
            ("drop orders", false),
        ] {
            let parsed =
                Line::try_parse_from(std::iter::once("destinations").chain(line.split(' ')));
            assert_eq!(parsed.is_ok(), fits, "{line}");
            if let Ok(parsed) = parsed {
                assert!(format!("{:?}", parsed.args).contains("command"));
            }
        }
    }
}
