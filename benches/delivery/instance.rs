//! One `posthaste serve` with topics, group and settings of its own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::kafka::Kafka;
use crate::{guard, process};

const LIMIT: Duration = Duration::from_secs(60);

/// A running instance; killed when dropped.
pub(crate) struct Instance {
    pub(crate) name: String,
    pub(crate) source: String,
    bootstrap: String,
    admin: String,
    child: Option<Child>,
}

impl Instance {
    /// Makes a source topic and starts an instance that reads it.
    pub(crate) fn start(kafka: &Kafka, name: &str) -> Self {
        let source = format!("events-{name}");
        kafka.create(&source);
        let mut instance = Self {
            name: name.to_owned(),
            source,
            bootstrap: kafka.bootstrap.clone(),
            admin: String::new(),
            child: None,
        };
        instance.launch();
        instance
    }

    /// Starts the process; returns how long it took to be ready.
    pub(crate) fn launch(&mut self) -> Duration {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        self.admin = free.local_addr().expect("its address").to_string();
        drop(free);
        let Self {
            name,
            source,
            bootstrap,
            admin,
            ..
        } = &*self;
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (config, log) = (
            folder.join(format!("bench-{name}.toml")),
            folder.join(format!("bench-{name}.log")),
        );
        let settings = format!(
            "[kafka]\nbrokers = \"{bootstrap}\"\ngroup = \"{name}\"\n[topics]\nprefix = \"{name}.\"\n\
             [sources.\"{source}\"]\nstart = \"earliest\"\n[egress]\nallow = [\"127.0.0.0/8\"]\nallow_http = true\n\
             [admin]\nlisten = \"{admin}\"\n[shutdown]\ntimeout = \"2s\"\n"
        );
        std::fs::write(&config, settings).expect("the settings can be written");
        let log = File::create(&log).expect("the log can be written");
        let since = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_posthaste"))
            .args([
                "serve",
                "--insecure-no-auth",
                "--insecure-plaintext-secrets",
                "--config",
            ])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log can be shared"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        guard::process(child.id());
        eprintln!("  posthaste serve ({name}) is process {}", child.id());
        self.child = Some(child);
        self.until("ready", |instance| {
            instance
                .page("/readyz")
                .is_some_and(|page| page.starts_with("HTTP/1.1 200"))
        });
        since.elapsed()
    }

    /// The process, for `/proc`.
    pub(crate) fn pid(&self) -> String {
        self.child
            .as_ref()
            .expect("it was launched")
            .id()
            .to_string()
    }

    /// Microseconds of CPU used.
    pub(crate) fn cpu_us(&self) -> u64 {
        process::cpu_us(&self.pid())
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let told = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status();
        assert!(
            told.expect("kill runs").success(),
            "it runs until it is told"
        );
        child.wait().expect("it ends");
        guard::ended(child.id());
    }

    /// Writes documents and waits until `count` destinations are in force in all.
    pub(crate) fn destinations(
        &self,
        kafka: &Kafka,
        documents: impl Iterator<Item = (String, String)>,
        count: u32,
    ) {
        let topic = format!("{}.destinations", self.name);
        for (id, document) in documents {
            kafka.document(&topic, &format!("default/{id}"), &document);
        }
        kafka.flush();
        self.until("with all destinations", |instance| {
            instance.metric("posthaste_catalog_destinations") >= f64::from(count)
        });
    }

    /// The sum of all series of that name.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = self.page("/metrics").unwrap_or_default();
        let series = page.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        series
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// Waits for a state.
    pub(crate) fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !is(self) {
            assert!(
                since.elapsed() < LIMIT,
                "{} is not {what} within {LIMIT:?}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn page(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.admin).ok()?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.admin
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        Some(page)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let killed = child.kill().and_then(|()| child.wait());
            if killed.is_ok() {
                guard::ended(child.id());
            }
        }
    }
}
