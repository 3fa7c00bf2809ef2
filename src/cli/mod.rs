//! The command line: what each subcommand takes, and which exit code it ends with.
//!
//! Exit codes: 0 fine; 1 the answer is no; 64 wrong usage; 69 Kafka not reachable; 70 a bug; 78 wrong settings.

pub mod advice;
pub mod check;
pub mod destinations;
pub mod filter;
pub mod publish;
pub mod redact;
mod serve;
pub mod stdout;
mod test;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::sync::watch;

use crate::catalog::Documents;
use crate::config;
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::domain::ids::DestinationId;
use crate::domain::units::Span;
use crate::egress::{self, Guard};
use crate::kafka::client::property_faults;
use crate::kafka::errors::{Error, Kind};
use crate::telemetry::logs;
use stdout::Stdout;

/// Exit codes; the numbers from 64 on are those of `sysexits.h`.
pub mod exit {
    /// Done.
    pub const FINE: u8 = 0;
    /// The answer is no.
    pub const NO: u8 = 1;
    /// Wrong usage.
    pub const USAGE: u8 = 64;
    /// Kafka is not reachable.
    pub const UNREACHABLE: u8 = 69;
    /// A bug, or a failure that a restart may mend.
    pub const BUG: u8 = 70;
    /// Wrong settings.
    pub const SETTINGS: u8 = 78;
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// The command was called in a way that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongUsage(pub String);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

/// The exit code for an error that ended a command.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<Error>() {
        return exit_code_of(error.kind());
    }
    if error.downcast_ref::<WrongUsage>().is_some() {
        return exit::USAGE;
    }
    exit::BUG
}

/// The exit code for trouble with Kafka.
#[must_use]
pub fn exit_code_of(kind: Kind) -> u8 {
    match kind {
        Kind::Unreachable => exit::UNREACHABLE,
        Kind::Settings => exit::SETTINGS,
        Kind::Auth
        | Kind::Acl
        | Kind::TopicMissing
        | Kind::Policy
        | Kind::TooLarge
        | Kind::Other => exit::NO,
    }
}

/// Delivers events from Kafka topics to the destinations that your customers choose.
#[derive(Debug, Parser)]
#[command(name = "posthaste", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every subcommand takes.
#[derive(Debug, Args)]
struct Common {
    /// File with settings (TOML); every key also as an environment variable POSTHASTE__SECTION__KEY.
    #[arg(long, global = true, value_name = "FILE", env = "POSTHASTE_CONFIG")]
    config: Option<PathBuf>,
    /// Kafka's address, before file and environment.
    #[arg(long, global = true, value_name = "HOST:PORT,…")]
    brokers: Option<String>,
    /// One setting, before file and environment: `retry.dedicated_topics=64`.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// How results are written.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// How log lines are written, to standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
    /// Which log lines: a level, or a filter such as `info,posthaste::retry=debug`.
    #[arg(long, global = true, value_name = "FILTER", env = "POSTHASTE_LOG")]
    log_filter: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an instance.
    Serve(serve::Arguments),
    /// Try it: a broker, a receiver, three destinations and sample events in one process.
    Dev {
        /// Stop publishing after this time, wait for what is open, and end with 0 if all was accounted for.
        #[arg(long = "for", value_name = "20s")]
        run_for: Option<Span>,
    },
    /// Look whether settings, connection, topics and permissions are as they must be; changes nothing.
    Check,
    /// Write one event to a topic.
    Publish(publish::PublishArgs),
    /// List, read, write, delete and test destinations over their topic.
    Destinations(destinations::DestinationsArgs),
    /// Try filters: test one, run many, or show what one compiles to. Needs no Kafka and no settings.
    Filter(filter::FilterArgs),
    /// Judge URLs as a send would: one URL a line on standard input. Needs no Kafka.
    Egress,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it like KEY=VALUE".to_owned()),
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no mistakes.
            let code = if error.use_stderr() { exit::USAGE } else { 0 };
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(error) => ExitCode::from(ended("help", Err(stdout::told(error).into()))),
            };
        }
    };
    let quiet = !matches!(cli.command, Command::Serve(_));
    let filter = cli
        .common
        .log_filter
        .as_deref()
        .unwrap_or(if quiet { "error" } else { "info" });
    let format = match cli.common.log {
        LogFormat::Text => logs::Format::Text,
        LogFormat::Json => logs::Format::Json,
    };
    if let Err(error) = logs::init(format, filter) {
        eprintln!(
            "posthaste: --log-filter: {}",
            crate::telemetry::error_chain(&error)
        );
        return ExitCode::from(exit::USAGE);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("posthaste: the runtime does not start: {error}");
            return ExitCode::from(exit::BUG);
        }
    };
    let code = runtime.block_on(run(cli.common, cli.command));
    // What still blocks a thread (a closing client) does not hold the exit up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ExitCode::from(code)
}

async fn run(common: Common, command: Command) -> u8 {
    if let Command::Dev { run_for } = command {
        return dev(common, run_for).await;
    }
    if let Command::Filter(args) = &command {
        let (mut input, mut out) = (std::io::stdin().lock(), Stdout);
        return ended(
            "filter",
            filter::run(args, common.output, &mut input, &mut out),
        );
    }
    let settings = match load(&common) {
        Ok(settings) => settings,
        Err(faults) if matches!(command, Command::Check) => {
            let told = check::wrong_settings(faults, common.output, &mut Stdout);
            return ended("check", told);
        }
        Err(faults) => return wrong_settings(&faults),
    };
    let (output, mut input, mut out) = (common.output, std::io::stdin(), Stdout);
    match command {
        Command::Serve(arguments) => serve::run(settings, arguments).await,
        Command::Dev { .. } | Command::Filter(_) => unreachable!("handled above"),
        Command::Check => ended("check", check::run(&settings, output, &mut out).await),
        Command::Publish(args) => {
            let ran = publish::run(&args, &settings, output, &mut input, &mut out).await;
            ended("publish", ran)
        }
        Command::Destinations(args) => {
            let guard = match Guard::new(&settings.egress, settings.webhook.dns_timeout.0) {
                Ok(guard) => guard,
                Err(faults) => return wrong_settings(&faults),
            };
            let settings = Arc::new(settings);
            let documents = Documents::new(Arc::clone(&settings));
            let validate = |value: &[u8]| accept(&documents, &guard, value);
            let ran =
                destinations::run(&args, &settings, &validate, output, &mut input, &mut out).await;
            ended("destinations", ran)
        }
        Command::Egress => judge(&settings).await,
    }
}

/// Checks a document as the catalog will, and whether its addresses may be sent to.
fn accept(documents: &Documents, guard: &Guard, value: &[u8]) -> Result<DestinationId, Vec<Fault>> {
    let prepared = documents.read_unkeyed(value)?;
    prepared
        .sink
        .check_egress(guard)
        .map_err(|fault| vec![fault])?;
    Ok(prepared.destination.id)
}

/// The exit code of a command; an error is told, unless nobody reads the output any more.
fn ended(command: &str, ran: anyhow::Result<u8>) -> u8 {
    ran.unwrap_or_else(|error| {
        if stdout::is_closed(&error) {
            return exit::FINE;
        }
        eprintln!("posthaste {command}: {error:#}");
        exit_code(&error)
    })
}

fn load(common: &Common) -> Result<Settings, Vec<Fault>> {
    let mut overrides = common.set.clone();
    if let Some(brokers) = &common.brokers {
        overrides.push(("kafka.brokers".to_owned(), brokers.clone()));
    }
    let sources = config::Sources {
        file: common.config.clone(),
        env: config::env::variables(),
        overrides,
    };
    let egress = |settings: &Settings| {
        Guard::new(&settings.egress, settings.webhook.dns_timeout.0)
            .err()
            .unwrap_or_default()
    };
    let properties = |settings: &Settings| property_faults(&settings.kafka);
    config::load_checked(&sources, &[&egress, &properties])
}

/// Tells all that is wrong with the settings.
fn wrong_settings(faults: &[Fault]) -> u8 {
    eprintln!("posthaste: wrong settings:");
    for fault in faults {
        eprintln!("  {fault}");
    }
    exit::SETTINGS
}

async fn dev(common: Common, run_for: Option<Span>) -> u8 {
    let options = crate::dev::Options {
        brokers: common.brokers,
        run_for: run_for.map(|span| span.0),
    };
    let ran = crate::dev::run(options, stop_signal()).await;
    ended(
        "dev",
        ran.map(|complete| if complete { exit::FINE } else { exit::NO }),
    )
}

async fn judge(settings: &Settings) -> u8 {
    let guard = match Guard::new(&settings.egress, settings.webhook.dns_timeout.0) {
        Ok(guard) => guard,
        Err(faults) => return wrong_settings(&faults),
    };
    let input = tokio::io::BufReader::new(tokio::io::stdin());
    let ran = egress::run_lines(&guard, input, tokio::io::stdout()).await;
    let ran = ran.map_err(|error| stdout::told(error).into());
    ended("egress", ran.map(|()| exit::FINE))
}

/// Told when the process is asked to stop: SIGTERM or Ctrl-C.
fn stop_signal() -> watch::Receiver<bool> {
    let (tell, told) = watch::channel(false);
    tokio::spawn(async move {
        let terminate = async {
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Ok(mut signal) => {
                    signal.recv().await;
                }
                Err(error) => {
                    tracing::error!(error = %error, "SIGTERM cannot be waited for");
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = terminate => {}
            interrupted = tokio::signal::ctrl_c() => {
                if let Err(error) = interrupted {
                    tracing::error!(error = %error, "Ctrl-C cannot be waited for");
                }
            }
        }
        tell.send_replace(true);
        // Held until the process ends: a closed channel would look like no answer.
        std::future::pending::<()>().await;
    });
    told
}
