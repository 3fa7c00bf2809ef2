//! Log lines on standard error, for people or for machines.
//!
//! Fields are dotted and always named the same: `destination.id`, `event.id`, `attempt.number`, `sink.kind`,
//! `outcome`, `kafka.topic`, `kafka.partition`, `kafka.offset`, `error`.
//!
//! Invariant: standard output belongs to a command's answer; no log line goes there.

use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One line of text each, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line: `timestamp`, `level`, `target`, `message` and the fields, flat.
    Json,
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(Error::Format(name.chars().take(80).collect())),
        }
    }
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A format that does not exist.
    #[error("`{0}` is not a log format; write `text` or `json`")]
    Format(String),
    /// A filter that does not parse.
    #[error(
        "log filter `{filter}` is not valid; write it like `info` or `info,posthaste::router=debug`"
    )]
    Filter {
        /// The text as given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// It was started twice.
    #[error("logging was started already")]
    Started(#[source] SetGlobalDefaultError),
}

/// Sends all log lines that `filter` lets through to standard error, from now on, for the whole process.
///
/// `filter` is a level, or levels by module as in `info,posthaste::router=debug`.
///
/// # Errors
/// If `filter` does not parse, or logging was started before.
pub fn init(format: Format, filter: &str) -> Result<(), Error> {
    let colour = io::stderr().is_terminal();
    let subscriber = subscriber(format, filter, io::stderr, colour)?;
    tracing::subscriber::set_global_default(subscriber).map_err(Error::Started)
}

/// What [`init`] installs, with the place to write to.
fn subscriber<W>(
    format: Format,
    filter: &str,
    writer: W,
    colour: bool,
) -> Result<Box<dyn Subscriber + Send + Sync>, Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter).map_err(|source| Error::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer);
    Ok(match format {
        // Untouched on a terminal, the builder's own choice heeds NO_COLOR.
        Format::Text if colour => Box::new(builder.finish()),
        Format::Text => Box::new(builder.with_ansi(false).finish()),
        Format::Json => Box::new(
            builder
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .finish(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("no panic before").clone()).expect("UTF-8")
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .expect("no panic before")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber =
            subscriber(format, filter, move || writer.clone(), false).expect("a valid filter");
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(
                destination.id = "acme/orders",
                attempt.number = 2,
                "attempt failed"
            );
            tracing::debug!("detail");
        });
        lines.text()
    }

    #[test]
    fn a_json_line_has_flat_dotted_fields() {
        let text = logged(Format::Json, "info");
        let line: serde_json::Value = serde_json::from_str(text.trim()).expect("one JSON object");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "attempt failed");
        assert_eq!(line["destination.id"], "acme/orders");
        assert_eq!(line["attempt.number"], 2);
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn a_text_line_has_the_same_fields_and_no_colours_in_a_file() {
        let text = logged(Format::Text, "info");
        assert!(text.contains("attempt failed destination.id=\"acme/orders\" attempt.number=2"));
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn the_filter_chooses_levels() {
        assert_eq!(logged(Format::Text, "info").lines().count(), 1);
        assert_eq!(logged(Format::Text, "debug").lines().count(), 2);
        assert_eq!(logged(Format::Text, "info,posthaste=warn"), "");
    }

    #[test]
    fn a_wrong_filter_or_format_is_named_with_an_example() {
        let error = init(Format::Text, "posthaste=loud").expect_err("no such level");
        assert!(error.to_string().contains("`posthaste=loud`"), "{error}");
        assert!(error.to_string().contains("`info`"), "{error}");
        let error = "xml".parse::<Format>().expect_err("no such format");
        assert!(error.to_string().contains("`json`"), "{error}");
    }
}
