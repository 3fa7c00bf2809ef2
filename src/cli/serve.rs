//! `posthaste serve`.

use std::sync::Arc;

use clap::Args;

use super::{exit, stop_signal, wrong_settings};
use crate::app::{self, Error, Roles};
use crate::config::settings::Settings;
use crate::kafka::topics::TopicAdmin;

/// What `serve` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What this instance does; all roles by default.
    #[arg(long, value_name = "route,retry,admin", value_parser = Roles::parse)]
    roles: Option<Roles>,
    /// Start without API keys; the admin endpoint then has to be on the loopback interface.
    #[arg(long)]
    insecure_no_auth: bool,
    /// Start without an encryption key; secrets then stand in the topics as they are.
    #[arg(long)]
    insecure_plaintext_secrets: bool,
}

pub(super) async fn run(settings: Settings, arguments: Arguments) -> u8 {
    let problems = insecurities(&settings, &arguments);
    if !problems.is_empty() {
        for problem in problems {
            eprintln!("posthaste serve: {problem}");
        }
        return exit::SETTINGS;
    }
    let roles = arguments.roles.unwrap_or(Roles::ALL);
    let factory =
        Box::new(|settings: &Settings| TopicAdmin::connect(settings).map_err(anyhow::Error::from));
    match app::serve(Arc::new(settings), roles, factory, stop_signal()).await {
        Ok(()) => 0,
        Err(Error::Settings(faults)) => wrong_settings(&faults),
        Err(Error::Topics(findings)) => {
            eprintln!("posthaste serve: topics are not as they must be:");
            for finding in findings {
                eprintln!("  {finding}");
            }
            exit::SETTINGS
        }
        Err(Error::Failed(error)) => {
            eprintln!("posthaste serve: {error:#}");
            exit::BUG
        }
    }
}

fn insecurities(settings: &Settings, arguments: &Arguments) -> Vec<String> {
    let mut problems = Vec::new();
    if !arguments.insecure_no_auth {
        problems.push(
            "no API key is set, and this version knows none yet: --insecure-no-auth starts without"
                .to_owned(),
        );
    } else if !settings.admin.listen.ip().is_loopback() {
        problems.push(format!(
            "--insecure-no-auth serves the admin endpoint on the loopback interface only; admin.listen is {}",
            settings.admin.listen
        ));
    }
    if !arguments.insecure_plaintext_secrets {
        problems.push(
            "no encryption key is set, and this version knows none yet: --insecure-plaintext-secrets keeps the secrets of destinations in topics as they are"
                .to_owned(),
        );
    }
    problems
}
