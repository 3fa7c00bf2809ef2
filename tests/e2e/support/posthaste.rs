//! One running instance of the real binary.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::metrics::Metrics;
use super::settings::Settings;
use super::wait::{self, LIMIT};
use super::{guard, run_folder, signal, unique};

/// `posthaste serve`. Killed when dropped; what it logged is printed when the test fails.
pub(crate) struct Posthaste {
    child: Child,
    pid: u32,
    admin: String,
    log: PathBuf,
    http: reqwest::Client,
}

/// How an instance ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// How long it took from the signal on.
    pub(crate) after: Duration,
}

impl Posthaste {
    /// Starts an instance and waits until it is ready.
    pub(crate) async fn start(settings: &Settings) -> Self {
        let mut posthaste = Self::launch(settings);
        posthaste.until_ready().await;
        posthaste
    }

    /// Starts an instance.
    pub(crate) fn launch(settings: &Settings) -> Self {
        Self::launch_with(settings, &[])
    }

    /// Starts an instance with variables in its environment.
    pub(crate) fn launch_with(settings: &Settings, environment: &[(&str, &str)]) -> Self {
        let name = unique("serve");
        let config = settings.write(&name);
        let log = run_folder().join(format!("{name}.log"));
        let out = File::create(&log).expect("the log can be written");
        let child = Command::new(env!("CARGO_BIN_EXE_posthaste"))
            .args([
                "serve",
                "--log",
                "json",
                "--insecure-no-auth",
                "--insecure-plaintext-secrets",
            ])
            .arg("--config")
            .arg(&config)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("the log's file can be shared"))
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let pid = child.id().expect("it was not waited for yet");
        guard::process(pid);
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        Self {
            child,
            pid,
            admin: settings.admin(),
            log,
            http,
        }
    }

    /// Waits for `/readyz` to answer 200; fails at once where the process ends instead.
    pub(crate) async fn until_ready(&mut self) {
        let Self {
            child, admin, http, ..
        } = self;
        wait::until("the instance is ready", async || {
            if let Some(status) = child.try_wait().expect("its status can be asked for") {
                panic!("the instance ended with {status} before it was ready");
            }
            let answer = http
                .get(format!("http://{admin}/readyz"))
                .send()
                .await
                .ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Status and body of a page of the admin endpoint, once it answers at all.
    pub(crate) async fn page(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.admin);
        wait::until(&format!("an answer from {path}"), async || {
            let answer = self.http.get(&url).send().await.ok()?;
            let status = answer.status().as_u16();
            Some((status, answer.text().await.ok()?))
        })
        .await
    }

    /// What `/metrics` says now.
    pub(crate) async fn metrics(&self) -> Metrics {
        let (status, text) = self.page("/metrics").await;
        assert_eq!(status, 200, "/metrics answers");
        Metrics::parse(&text)
    }

    /// Waits until the sum of these series is at least `least`.
    pub(crate) async fn until_metric(&self, name: &str, labels: &[(&str, &str)], least: f64) {
        wait::until(&format!("{name}{labels:?} >= {least}"), async || {
            (self.metrics().await.sum(name, labels) >= least).then_some(())
        })
        .await;
    }

    /// Waits until it owns exactly so many lanes of retries.
    pub(crate) async fn until_lanes_owned(&self, lanes: f64) {
        wait::until(&format!("{lanes} lanes owned"), async || {
            let owned = self.metrics().await.sum("posthaste_lanes_owned", &[]);
            ((owned - lanes).abs() < f64::EPSILON).then_some(())
        })
        .await;
    }

    /// What it logged so far.
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log can be read")
    }

    /// Waits until one line of the log holds all `words` in its fields.
    pub(crate) async fn until_logged(&self, words: &[&str]) {
        wait::until(&format!("a log line with {words:?}"), async || {
            holds(&self.logged(), words).then_some(())
        })
        .await;
    }

    /// Ends it as a power cut would, and waits until it is gone.
    pub(crate) async fn kill9(mut self) {
        self.child.kill().await.expect("it can be killed");
        guard::ended(self.pid);
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) async fn terminate(mut self) -> Ended {
        self.signal_to_end();
        self.until_ended().await
    }

    /// Sends SIGTERM.
    pub(crate) fn signal_to_end(&self) {
        signal(self.pid, "TERM");
    }

    /// Stops all its threads where they are, until [`Posthaste::thaw`].
    pub(crate) fn freeze(&self) {
        signal(self.pid, "STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        signal(self.pid, "CONT");
    }

    /// Waits until it ends by itself or by the signal that it got.
    pub(crate) async fn until_ended(&mut self) -> Ended {
        let since = Instant::now();
        let status = timeout(LIMIT, self.child.wait()).await;
        let status =
            status.unwrap_or_else(|_elapsed| panic!("the instance did not end within {LIMIT:?}"));
        guard::ended(self.pid);
        Ended {
            status: status.expect("its status can be asked for"),
            after: since.elapsed(),
        }
    }
}

impl Drop for Posthaste {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_end(&self.log);
            match metrics_text(&self.admin) {
                Ok(text) => text
                    .lines()
                    .filter(|line| tells(line))
                    .for_each(|line| println!("{line}")),
                Err(error) => println!("no metrics from {}: {error}", self.admin),
            }
        }
    }
}

/// `/metrics`, asked for without a runtime, since a test may be unwinding.
fn metrics_text(admin: &str) -> std::io::Result<String> {
    let address: std::net::SocketAddr = admin.parse().map_err(std::io::Error::other)?;
    let limit = Duration::from_secs(2);
    let mut socket = std::net::TcpStream::connect_timeout(&address, limit)?;
    socket.set_read_timeout(Some(limit))?;
    write!(socket, "GET /metrics HTTP/1.0\r\nhost: {admin}\r\n\r\n")?;
    let mut text = String::new();
    socket.read_to_string(&mut text)?;
    Ok(text)
}

/// Whether a line of `/metrics` says something about a failure: a value that is not 0.
fn tells(line: &str) -> bool {
    line.starts_with("posthaste_") && !line.contains("_bucket") && !line.ends_with(" 0")
}

/// Prints the last lines of a log, for the output of a failed test.
fn print_end(log: &Path) {
    let text = std::fs::read_to_string(log).unwrap_or_else(|error| error.to_string());
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(150);
    println!("---- {} (without its first {skipped} lines)", log.display());
    for line in lines.iter().skip(skipped) {
        println!("{line}");
    }
}

/// Whether one line holds all words, in the values of its JSON fields or, where it is no JSON, in its text.
pub(crate) fn holds(log: &str, words: &[&str]) -> bool {
    log.lines().any(|line| {
        let text = match serde_json::from_str::<Value>(line) {
            Ok(fields) => {
                let mut text = String::new();
                collect(&fields, &mut text);
                text
            }
            Err(_not_json) => line.to_owned(),
        };
        words.iter().all(|word| text.contains(word))
    })
}

/// Appends all keys and values, so that a word is found as it was before it was escaped.
fn collect(value: &Value, text: &mut String) {
    match value {
        Value::String(inner) => text.push_str(inner),
        Value::Array(inner) => inner.iter().for_each(|value| collect(value, text)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            text.push_str(name);
            text.push('=');
            collect(value, text);
            text.push(' ');
        }),
        other => text.push_str(&other.to_string()),
    }
}
