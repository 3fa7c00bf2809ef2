//! Connections that destinations share, and the channels on them.
//!
//! Invariant: one connection for each endpoint and user; many destinations that wait for one dial it once.
//! Invariant: after a failure it is not dialled again before a backoff has passed.

use std::fmt;
use std::future::ready;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lapin::options::ConfirmSelectOptions;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties};

use super::outcome::Failure;
use super::stream::{self, Cut, Stream, Tls};
use crate::config::settings::Settings;
use crate::domain::secret::Secret;
use crate::egress::{Dialling, Guard};
use crate::sinks::ClientsError;
use crate::sinks::cache::{CLIENTS, Cache, IDLE};

/// In seconds: a broker that is silent for twice as long is gone.
const HEARTBEAT: u16 = 10;

/// Channels of one connection that are kept for the next message.
const IDLE_CHANNELS: usize = 64;

/// How long is waited after a failed dial, doubling up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long a broker has to answer when a connection is closed.
const LEAVE: Duration = Duration::from_secs(1);

/// Where a connection leads to, and as whom.
pub(super) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) vhost: String,
    pub(super) username: Secret,
    pub(super) password: Secret,
    /// `None`: no TLS.
    pub(super) tls: Option<Tls>,
}

impl Endpoint {
    /// What makes two connections different.
    fn parts(&self) -> (&str, u16, &str, &str, &str, &Option<Tls>) {
        (
            &self.host,
            self.port,
            &self.vhost,
            self.username.expose(),
            self.password.expose(),
            &self.tls,
        )
    }

    fn uri(&self) -> AMQPUri {
        AMQPUri {
            // The stream is encrypted already.
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: self.username.expose().to_owned(),
                    password: self.password.expose().to_owned(),
                },
                host: self.host.clone(),
                port: self.port,
            },
            vhost: self.vhost.clone(),
            query: AMQPQueryString {
                heartbeat: Some(HEARTBEAT),
                ..AMQPQueryString::default()
            },
        }
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Endpoint {}

impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

/// What all RabbitMQ destinations share.
#[derive(Debug)]
pub struct Client {
    places: Cache<Arc<Endpoint>, Arc<Place>>,
    pub(super) guard: Arc<Guard>,
    connect_timeout: Duration,
}

/// One endpoint.
#[derive(Default)]
struct Place(tokio::sync::Mutex<State>);

#[derive(Default)]
struct State {
    live: Option<Arc<Live>>,
    failed: Option<(Failure, Instant)>,
    failures: u32,
}

/// A connection and the channels that nobody uses now.
pub(super) struct Live {
    connection: Arc<Connection>,
    idle: Mutex<Vec<Channel>>,
    cut: Option<Cut>,
}

impl Drop for Live {
    /// Takes leave of the broker, and cuts the connection where that takes too long.
    fn drop(&mut self) {
        let (connection, cut) = (Arc::clone(&self.connection), self.cut.take());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let leave = connection.close(200, "OK".into());
            if tokio::time::timeout(LEAVE, leave).await.is_err() {
                tracing::debug!("a broker did not answer when its connection was closed");
            }
            drop(cut);
        });
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

impl Client {
    pub(in crate::sinks) fn new(
        settings: &Settings,
        guard: Arc<Guard>,
    ) -> Result<Self, ClientsError> {
        Ok(Self {
            places: Cache::new(CLIENTS, IDLE),
            guard,
            connect_timeout: settings.webhook.connect_timeout.0,
        })
    }

    /// The connection to `endpoint`, which is made where there is none.
    ///
    /// # Errors
    /// Why there is none, now or since the last try.
    pub(super) async fn connection(&self, endpoint: &Arc<Endpoint>) -> Result<Arc<Live>, Failure> {
        let place = self.places.get(endpoint, Arc::default);
        let mut state = place.0.lock().await;
        if let Some(live) = &state.live
            && live.connection.status().connected()
        {
            return Ok(Arc::clone(live));
        }
        state.live = None;
        if let Some((failure, until)) = &state.failed
            && Instant::now() < *until
        {
            return Err(failure.clone());
        }
        let dialled = tokio::time::timeout(self.connect_timeout, self.dial(endpoint)).await;
        match dialled.unwrap_or(Err(Failure::Timeout(self.connect_timeout))) {
            Ok(live) => {
                let live = Arc::new(live);
                *state = State {
                    live: Some(Arc::clone(&live)),
                    ..State::default()
                };
                Ok(live)
            }
            Err(failure) => {
                let (first, most) = BACKOFF;
                let wait = first.saturating_mul(1 << state.failures.min(10)).min(most);
                state.failures = state.failures.saturating_add(1);
                state.failed = Some((failure.clone(), Instant::now() + wait));
                Err(failure)
            }
        }
    }

    /// Has the next message take another connection.
    pub(super) async fn forget(&self, endpoint: &Arc<Endpoint>, live: &Arc<Live>) {
        let place = self.places.get(endpoint, Arc::default);
        let mut state = place.0.lock().await;
        if state.live.as_ref().is_some_and(|found| Arc::ptr_eq(found, live)) {
            state.live = None;
        }
    }

    async fn dial(&self, endpoint: &Endpoint) -> Result<Live, Failure> {
        let tls = endpoint.tls.as_ref().map(Tls::config).transpose();
        let tls = tls.map_err(|wrong| Failure::Configuration(wrong.to_owned()))?;
        let stream = self.guard.connect_listed(&endpoint.host, endpoint.port);
        let stream = stream.await.map_err(|failed| match failed {
            Dialling::Refused(refusal) => Failure::Egress(refusal),
            Dialling::Unresolvable => Failure::Connect("the name does not resolve".to_owned()),
            Dialling::Failed(error) => Failure::Connect(error.kind().to_string()),
        })?;
        let stream = match tls {
            None => stream,
            Some(config) => stream::encrypt(stream, &endpoint.host, config)
                .await
                .map_err(|error| Failure::Tls(error.to_string()))?,
        };
        let cut = Cut::of(stream).map_err(|error| Failure::Ours(error.to_string()));
        let (stream, cut) = cut?;
        // It asks for a stream once: nothing recovers by itself.
        let handed: Mutex<Option<Stream>> = Mutex::new(Some(Stream::new(stream)));
        let connect = move |_uri, _runtime| {
            let stream = handed.lock().unwrap_or_else(PoisonError::into_inner).take();
            let stream = stream.map(AsyncTcpStream::Plain);
            ready(stream.ok_or_else(|| {
                std::io::Error::other("connections are dialled by the guard").into()
            }))
        };
        let properties = ConnectionProperties::default()
            .with_connection_name("posthaste".into())
            .configure_backoff(|backoff| backoff.with_max_times(0));
        let runtime = async_rs::Runtime::tokio_current();
        let connection = Connection::connector(endpoint.uri(), runtime, connect, properties);
        Ok(Live {
            connection: Arc::new(connection.await.map_err(|error| Failure::of(&error))?),
            idle: Mutex::default(),
            cut: Some(cut),
        })
    }
}

impl Live {
    /// A channel on which nothing is in flight.
    pub(super) async fn channel(&self) -> Result<Channel, Failure> {
        loop {
            let idle = self.idle().pop();
            match idle {
                Some(channel) if channel.status().connected() => return Ok(channel),
                Some(_closed) => {}
                None => break,
            }
        }
        let channel = self.connection.create_channel().await;
        let channel = channel.map_err(|error| Failure::of(&error))?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        confirms.await.map_err(|error| Failure::of(&error))?;
        Ok(channel)
    }

    /// Keeps a channel on which nothing is in flight any more.
    pub(super) fn keep(&self, channel: Channel) {
        let mut idle = self.idle();
        if idle.len() < IDLE_CHANNELS {
            idle.push(channel);
        }
    }

    /// Whether the broker has told that it takes no messages now.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Channel>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
