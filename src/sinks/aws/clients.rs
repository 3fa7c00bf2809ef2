//! The SDK's clients, shared by all destinations with the same credentials, region and endpoint.
//!
//! An [`Account`] comes in, a client that signs for it goes out. A client holds the credentials of its role and gets new
//! ones before they expire.
//!
//! Invariant: at most `aws.clients` are kept; one that nobody asked for during `aws.client_idle` is dropped, with the
//! credentials in it. Who holds one keeps it until the request is done.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::sync::OnceCell;

use super::config::{Account, Auth, Key};
use super::connector;
use crate::config::settings::Settings;
use crate::egress::Guard;
use crate::sinks::ClientsError;
use crate::sinks::cache::Cache;

/// How long before they expire new credentials are asked for: requests that are signed now must still be valid when they
/// arrive, and AWS allows clocks to differ by 5 minutes.
const REFRESH_BEFORE: Duration = Duration::from_secs(5 * 60);

/// What a role's session is called in the log of the customer's account.
const SESSION: &str = "posthaste";

/// Clients of one service, of the type `C`.
pub(in crate::sinks) struct Clients<C> {
    make: fn(&SdkConfig) -> C,
    guarded: SharedHttpClient,
    own: Own,
    limit: Duration,
    kept: Cache<Key, Arc<OnceCell<C>>>,
}

/// The operator's own credentials, looked for when first needed.
struct Own {
    http: SharedHttpClient,
    found: OnceCell<SdkConfig>,
}

impl<C: Clone + Send + Sync + 'static> Clients<C> {
    /// `make` gives the service's client for a configuration.
    pub(in crate::sinks) fn new(
        settings: &Settings,
        guard: Arc<Guard>,
        make: fn(&SdkConfig) -> C,
    ) -> Result<Self, ClientsError> {
        Ok(Self {
            make,
            guarded: connector::guarded(settings, guard)?,
            own: Own {
                http: connector::unguarded(settings)?,
                found: OnceCell::new(),
            },
            limit: settings.aws.timeout.0,
            kept: Cache::new(settings.aws.clients, settings.aws.client_idle.0),
        })
    }

    /// The client for an account.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(in crate::sinks) async fn get(&self, account: &Account) -> C {
        let kept = self.kept.get(account.key(), Arc::default);
        // Seldom, and large.
        let make = || async { (self.make)(&Box::pin(self.configure(account)).await) };
        kept.get_or_init(make).await.clone()
    }

    async fn configure(&self, account: &Account) -> SdkConfig {
        let region = Region::new(account.region.clone());
        let credentials = match &account.auth {
            Auth::Keys(keys) => SharedCredentialsProvider::new(Credentials::new(
                keys.access_key_id.clone(),
                keys.secret_access_key.expose(),
                keys.session_token
                    .as_ref()
                    .map(|token| token.expose().to_owned()),
                None,
                "destination",
            )),
            Auth::Role {
                role_arn,
                external_id,
            } => {
                let own = self.own.find().await.to_builder();
                let own = own.http_client(self.guarded.clone()).build();
                let mut role = AssumeRoleProvider::builder(role_arn.clone())
                    .configure(&own)
                    .region(region.clone())
                    .session_name(SESSION);
                if let Some(id) = external_id {
                    role = role.external_id(id.clone());
                }
                SharedCredentialsProvider::new(role.build().await)
            }
            Auth::Own => match self.own.find().await.credentials_provider() {
                Some(own) => own,
                // Never without: the chain is always there, whether it finds something or not.
                None => {
                    SharedCredentialsProvider::new(Credentials::new("", "", None, None, "none"))
                }
            },
        };
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(region)
            .http_client(self.guarded.clone())
            .credentials_provider(credentials)
            .identity_cache(
                IdentityCache::lazy()
                    .buffer_time(REFRESH_BEFORE)
                    .load_timeout(self.limit)
                    .build(),
            )
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(account.endpoint.as_ref().map(ToString::to_string));
        config.build()
    }
}

impl Own {
    /// Where the chain stands: environment, profile files, web identity, container and instance metadata.
    async fn find(&self) -> &SdkConfig {
        let find = || {
            aws_config::defaults(BehaviorVersion::latest())
                .http_client(self.http.clone())
                .retry_config(RetryConfig::disabled())
                .load()
        };
        self.found.get_or_init(find).await
    }
}

/// Shows no credentials.
impl<C> fmt::Debug for Clients<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::signer;
    use super::*;
    use crate::domain::units::Span;
    use crate::sinks::tests::{guard, settings};

    /// Clients that are the endpoint they go to.
    fn clients(most: usize) -> Clients<String> {
        let mut settings = settings();
        settings.aws.clients = most;
        settings.aws.client_idle = Span::secs(60);
        let guard = Arc::new(guard(&settings));
        let make = |config: &SdkConfig| {
            format!(
                "{} {}",
                config.region().expect("set"),
                config.endpoint_url().unwrap_or_default()
            )
        };
        Clients::new(&settings, guard, make).expect("clients")
    }

    fn kept(clients: &Clients<String>) -> usize {
        clients.kept.len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_shared_by_what_has_the_same_credentials_region_and_endpoint() {
        let clients = clients(10);
        for (number, document) in [
            json!({}),
            json!({"region": "us-east-1"}),
            json!({"endpoint": "https://sqs.example.com"}),
            json!({"auth": {"type": "aws_keys", "access_key_id": "B", "secret_access_key": "s"}}),
            json!({"auth": {"type": "aws_keys", "access_key_id": "A", "secret_access_key": "t"}}),
        ]
        .iter()
        .enumerate()
        {
            let first = clients.get(&signer(document)).await;
            assert_eq!(clients.get(&signer(document)).await, first);
            assert_eq!(kept(&clients), number + 1, "{document}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_unused_makes_room_and_idle_ones_go() {
        let clients = clients(2);
        let of = |region: &str| signer(&json!({"region": region}));
        for region in ["eu-west-1", "eu-west-2", "eu-west-1", "eu-west-3"] {
            clients.get(&of(region)).await;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(kept(&clients), 2);
        let found = |region: &str| clients.kept.has(of(region).key());
        assert!(found("eu-west-1") && !found("eu-west-2") && found("eu-west-3"));
        tokio::time::advance(Duration::from_secs(45)).await;
        assert!(found("eu-west-3"));
        clients.get(&of("eu-west-3")).await;
        tokio::time::advance(Duration::from_secs(45)).await;
        assert!(found("eu-west-3") && !found("eu-west-1"));
        assert_eq!(kept(&clients), 1);
    }

    #[test]
    fn clients_do_not_show_what_they_hold() {
        assert_eq!(format!("{:?}", clients(2)), "Clients { .. }");
    }
}
