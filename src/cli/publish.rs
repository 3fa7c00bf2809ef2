//! `posthaste publish`: one event into a topic, as a platform's own producer would write it.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;

use super::{Output, WrongUsage, exit};
use crate::config::settings::Settings;
use crate::domain::event::Headers;
use crate::kafka::publish::Publisher;
use crate::wire::NewRecord;

/// How long Kafka may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Writes one event.
#[derive(Debug, Clone, clap::Args)]
pub struct PublishArgs {
    /// The topic, usually one under `sources`; --topic says the same
    #[arg(
        value_name = "TOPIC",
        required_unless_present = "named",
        conflicts_with = "named"
    )]
    topic: Option<String>,
    #[arg(long = "topic", value_name = "TOPIC", id = "named", hide = true)]
    named: Option<String>,
    /// The event's type (header `event-type`)
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// The event's id (header `event-id`)
    #[arg(long)]
    id: Option<String>,
    /// Whose event it is (header `tenant`)
    #[arg(long)]
    tenant: Option<String>,
    /// The record's key; it chooses the partition as Kafka's Java client does
    #[arg(long)]
    key: Option<String>,
    /// Another header; may be given several times
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The event itself; without this and --file it is read from standard input
    #[arg(long, conflicts_with = "file")]
    data: Option<String>,
    /// The file that holds the event
    #[arg(long)]
    file: Option<PathBuf>,
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it like `name=value`".to_owned()),
    }
}

impl PublishArgs {
    /// The record, but for its value.
    fn record(&self) -> NewRecord {
        let named = [
            ("event-id", &self.id),
            ("event-type", &self.event_type),
            ("tenant", &self.tenant),
        ];
        let named = named
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let others = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value));
        let headers: Headers = named
            .chain(others)
            .map(|(name, value)| (name.into(), Some(Bytes::copy_from_slice(value.as_bytes()))))
            .collect();
        NewRecord {
            key: self.key.clone().map(Bytes::from),
            value: None,
            headers,
        }
    }

    fn value(&self, input: &mut dyn Read) -> anyhow::Result<Vec<u8>> {
        if let Some(data) = &self.data {
            return Ok(data.clone().into_bytes());
        }
        if let Some(file) = &self.file {
            return read_file(file);
        }
        let mut value = Vec::new();
        input
            .read_to_end(&mut value)
            .context("standard input cannot be read")?;
        Ok(value)
    }
}

/// The bytes of a file that somebody named.
pub(super) fn read_file(file: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file)
        .map_err(|error| WrongUsage(format!("{} cannot be read: {error}", file.display())).into())
}

/// Runs the command; returns the exit code.
///
/// # Errors
/// If the event cannot be read, or Kafka does not take it; [`exit_code`](super::exit_code) says with which code to end.
pub async fn run(
    args: &PublishArgs,
    settings: &Settings,
    output: Output,
    input: &mut (dyn Read + Send),
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let record = NewRecord {
        value: Some(args.value(input)?.into()),
        ..args.record()
    };
    let publisher = Publisher::new(settings, PATIENCE)?;
    let topic = args.topic.as_ref().or(args.named.as_ref());
    let topic = topic.map_or("", String::as_str);
    let place = publisher.write(topic, None, &record).await?;
    match output {
        Output::Text => writeln!(out, "{}/{}/{}", place.topic, place.partition, place.offset)?,
        Output::Json => writeln!(out, "{}", serde_json::to_string(&place)?)?,
    }
    Ok(exit::FINE)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: PublishArgs,
    }

    fn parse(line: &str) -> Result<PublishArgs, clap::Error> {
        Line::try_parse_from(std::iter::once("publish").chain(line.split(' ')))
            .map(|line| line.args)
    }

    #[test]
    fn arguments_become_key_and_headers() {
        let args = parse("--topic orders --type order.paid --id e1 --tenant acme --key k --header a=b=c --header d= --data {}")
            .expect("valid");
        let record = args.record();
        assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
        let headers: Vec<(&str, &[u8])> = record
            .headers
            .iter()
            .map(|(name, value)| (&**name, value.as_deref().unwrap_or_default()))
            .collect();
        assert_eq!(
            headers,
            [
                ("event-id", &b"e1"[..]),
                ("event-type", b"order.paid"),
                ("tenant", b"acme"),
                ("a", b"b=c"),
                ("d", b"")
            ]
        );
        assert_eq!(args.value(&mut std::io::empty()).expect("given"), b"{}");
    }

    #[test]
    fn without_data_or_file_the_event_comes_from_standard_input() {
        let args = parse("--topic orders").expect("valid");
        assert_eq!(
            args.value(&mut &b"\x00bytes"[..]).expect("read"),
            b"\x00bytes"
        );
        assert_eq!(args.record(), NewRecord::default());
    }

    #[test]
    fn wrong_usage_is_refused() {
        assert!(parse("--data x").is_err());
        assert!(parse("--topic t --data x --file y").is_err());
        assert!(parse("--topic t --header novalue").is_err());
        assert!(parse("--topic t --header =v").is_err());
        let error = parse("--topic t --file /nonexistent/x")
            .expect("valid")
            .value(&mut std::io::empty())
            .expect_err("no such file");
        assert_eq!(super::super::exit_code(&error), exit::USAGE);
    }
}
