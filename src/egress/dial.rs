//! Resolving and dialling: the parts of an HTTP client that belong to the guard.
//!
//! Invariant: a client built here follows no redirect, uses no proxy and dials vetted addresses only.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::sync::{Arc, LazyLock};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tower::util::MapRequestLayer;

use super::{Guard, Names, Refusal};

/// Look-ups at once. Each holds a thread for as long as the system's resolver takes, which no time limit shortens.
static LOOKUPS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(256)));

tokio::task_local! {
    /// What the connection is for that this task may be about to open.
    static DIAL: Dial;
}

struct Dial {
    port: u16,
    opened: Cell<bool>,
}

/// Begins a client for URLs that customers supply. Time limits, pool and TLS are for the caller to add.
pub fn client(guard: &Arc<Guard>) -> reqwest::ClientBuilder {
    // Asked whenever a connection is opened, and then only.
    let observer = MapRequestLayer::new(|target| {
        // Without a dial in progress a connection is opened ahead of need; nobody asks about it.
        DIAL.try_with(|dial| dial.opened.set(true)).ok();
        target
    });
    reqwest::Client::builder()
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .connector_layer(observer)
        .dns_resolver(GuardedNames(Arc::clone(guard)))
}

/// Runs a request of a [`client`] to `port`, and tells whether it may have opened a connection: `false` says that one
/// was used that had been open before.
pub async fn dialling<F: Future>(port: u16, request: F) -> (F::Output, bool) {
    let dial = Dial {
        port,
        opened: Cell::new(false),
    };
    let mut scoped = pin!(DIAL.scope(dial, request));
    let output = scoped.as_mut().await;
    let opened = scoped.take_value().is_none_or(|dial| dial.opened.get());
    (output, opened)
}

/// The resolver of guarded clients.
struct GuardedNames(Arc<Guard>);

impl Resolve for GuardedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        // A connection opened ahead of need has no port here: entries of `egress.allow` with one then do not apply.
        let port = DIAL.try_with(|dial| dial.port).ok();
        Box::pin(async move {
            let addresses = guard.resolve(name.as_str(), port).await?;
            let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

impl Guard {
    /// The addresses of `name`, all vetted.
    pub(super) async fn resolve(
        &self,
        name: &str,
        port: Option<u16>,
    ) -> Result<Vec<IpAddr>, Refusal> {
        let looked_up = tokio::time::timeout(self.dns_timeout, self.names.look_up(name)).await;
        let addresses = looked_up.ok().flatten().unwrap_or_default();
        if addresses.is_empty() {
            return Err(Refusal::Unresolvable);
        }
        for ip in &addresses {
            self.check_address(*ip, Some(name), port)?;
        }
        Ok(addresses)
    }
}

/// Why a listed host was not connected to.
#[derive(Debug, thiserror::Error)]
pub enum Dialling {
    /// The operator does not allow it.
    #[error("{0}")]
    Refused(Refusal),
    /// The name does not resolve, or not in time.
    #[error("the name does not resolve")]
    Unresolvable,
    /// No address takes the connection; the last one's answer.
    #[error("no address takes the connection")]
    Failed(#[source] std::io::Error),
}

impl Guard {
    /// Connects to a host on the operator's list, at an address that was vetted. The caller limits the time.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn connect_listed(&self, host: &str, port: u16) -> Result<TcpStream, Dialling> {
        self.check_listed(host, port).map_err(Dialling::Refused)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = match bare.parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_name) => match self.resolve(host, Some(port)).await {
                Ok(addresses) => addresses,
                Err(Refusal::Unresolvable) => return Err(Dialling::Unresolvable),
                Err(refusal) => return Err(Dialling::Refused(refusal)),
            },
        };
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for ip in addresses {
            match TcpStream::connect(SocketAddr::new(ip, port)).await {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(Dialling::Failed)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(Dialling::Failed(last))
    }
}

impl Names {
    /// The addresses of `name`; `None` where the look-up fails: why is the system's business, not the customer's.
    async fn look_up(&self, name: &str) -> Option<Vec<IpAddr>> {
        match self {
            Self::System => {
                let name = name.to_owned();
                // Held by the thread: one that is given up still counts until it is done.
                let permit = Arc::clone(&LOOKUPS).acquire_owned().await.ok()?;
                let looked_up = tokio::task::spawn_blocking(move || {
                    let _permit = permit;
                    let found = (name.as_str(), 0).to_socket_addrs().ok()?;
                    Some(found.map(|address| address.ip()).collect())
                });
                looked_up.await.ok().flatten()
            }
            #[cfg(test)]
            Self::Table(names) => names.get(name).cloned(),
            #[cfg(test)]
            Self::Never => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::settings::Egress;

    fn guard(allow: &[&str]) -> Arc<Guard> {
        let settings = Egress {
            allow: allow.iter().map(|entry| (*entry).to_owned()).collect(),
            allow_http: true,
        };
        let guard = Guard::new(&settings, Duration::from_secs(2)).expect("settings");
        Arc::new(guard.with_names(&[
            ("public.example", &["8.8.8.8", "2001:4860:4860::8888"]),
            ("mixed.example", &["8.8.8.8", "10.0.0.1"]),
            ("loop.example", &["127.0.0.1"]),
            ("empty.example", &[]),
        ]))
    }

    async fn resolve(guard: &Arc<Guard>, name: &str, port: Option<u16>) -> Result<usize, Refusal> {
        let resolving = || GuardedNames(Arc::clone(guard)).resolve(name.parse().expect("name"));
        let resolved = match port {
            Some(port) => dialling(port, async { resolving().await }).await.0,
            None => resolving().await,
        };
        resolved
            .map(Iterator::count)
            .map_err(|error| *error.downcast::<Refusal>().expect("a refusal"))
    }

    #[tokio::test]
    async fn the_resolver_gives_vetted_addresses_or_none() {
        let guard = guard(&["loop.example:8443"]);
        for (name, port, expected) in [
            ("public.example", Some(443), Ok(2)),
            ("public.example", None, Ok(2)),
            ("mixed.example", Some(443), Err(Refusal::Address)),
            ("loop.example", Some(8443), Ok(1)),
            ("loop.example", Some(443), Err(Refusal::Address)),
            ("loop.example", None, Err(Refusal::Address)),
            ("empty.example", Some(443), Err(Refusal::Unresolvable)),
            ("absent.example", Some(443), Err(Refusal::Unresolvable)),
        ] {
            assert_eq!(
                resolve(&guard, name, port).await,
                expected,
                "{name} {port:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_name_is_dialled_only_at_a_vetted_address() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("port");
        let port = listener.local_addr().expect("address").port();
        let url = format!("http://loop.example:{port}/");
        let strict = client(&guard(&[])).build().expect("client");
        let error = dialling(port, strict.get(&url).send())
            .await
            .0
            .expect_err("refused");
        assert!(error.is_dns(), "{error:?}");

        let accept = tokio::spawn(async move { listener.accept().await.map(drop) });
        let open = client(&guard(&["loop.example"])).build().expect("client");
        let (answer, opened) = dialling(port, open.get(&url).send()).await;
        assert!(answer.is_err() && opened);
        let accepted = tokio::time::timeout(Duration::from_secs(5), accept).await;
        let accepted = accepted.expect("the connection was made").expect("task");
        accepted.expect("accepted");
    }
}
