//! The SDK's requests over our own HTTP client.
//!
//! A signed request of the SDK comes in, its answer with a bounded body goes back; what went wrong is a [`Failure`], which
//! is found again among the causes of the SDK's error.
//!
//! Invariant: a guarded connector judges every request's URL, whoever made it up.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::config::RuntimeComponents;
use aws_sdk_sqs::error::ConnectorError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use reqwest::redirect::Policy;
use reqwest::{Request, Response, Url};
use tokio::time::{Instant, timeout_at};

use crate::config::settings::Settings;
use crate::egress::{self, Guard};
use crate::sinks::ClientsError;
use crate::sinks::http::{self, Failure};

/// How much of an answer is read: those to full batches take some KiB.
const ANSWER_MAX: usize = 1 << 20;

/// A client for what customers' documents lead to.
pub(super) fn guarded(
    settings: &Settings,
    guard: Arc<Guard>,
) -> Result<SharedHttpClient, ClientsError> {
    let builder = egress::client(&guard);
    shared(builder, settings, Some(guard))
}

/// A client for the operator's own credential chain, whose addresses are link-local ones more often than not.
pub(super) fn unguarded(settings: &Settings) -> Result<SharedHttpClient, ClientsError> {
    let builder = reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy();
    shared(builder, settings, None)
}

fn shared(
    builder: reqwest::ClientBuilder,
    settings: &Settings,
    guard: Option<Arc<Guard>>,
) -> Result<SharedHttpClient, ClientsError> {
    let webhook = &settings.webhook;
    let http = builder
        .connect_timeout(webhook.connect_timeout.0)
        .pool_idle_timeout(webhook.pool_idle_timeout.0)
        .pool_max_idle_per_host(webhook.pool_idle_per_host)
        .build()
        .map_err(ClientsError::Http)?;
    let connector = Connector {
        http,
        guard,
        connect: webhook.connect_timeout.0,
        total: settings.aws.timeout.0,
    };
    Ok(SharedHttpClient::new(Selector(SharedHttpConnector::new(
        connector,
    ))))
}

/// The same connector whatever the SDK wants: the time limits are ours.
#[derive(Debug)]
struct Selector(SharedHttpConnector);

impl HttpClient for Selector {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.0.clone()
    }
}

#[derive(Debug, Clone)]
struct Connector {
    http: reqwest::Client,
    guard: Option<Arc<Guard>>,
    connect: Duration,
    total: Duration,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        HttpConnectorFuture::new(async move {
            this.exchange(request).await.map_err(|failure| {
                if let (Failure::Egress(refusal), Some(guard)) = (&failure, &this.guard) {
                    guard.count(*refusal);
                }
                ConnectorError::io(failure.into())
            })
        })
    }
}

impl Connector {
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, Failure> {
        let started = Instant::now();
        let unusable = Failure::Configuration("the URL cannot be used in a request");
        let url = Url::parse(request.uri()).map_err(|_not_a_url| unusable.clone())?;
        if let Some(guard) = &self.guard {
            guard.check(&url).map_err(Failure::Egress)?;
        }
        let port = url.port_or_known_default().ok_or(unusable.clone())?;
        let request = request
            .try_into_http1x()
            .map_err(|_not_http| unusable.clone())?;
        let (head, body) = request.into_parts();
        let body = Bytes::copy_from_slice(body.bytes().unwrap_or_default());
        let limits = http::Limits {
            connect: self.connect,
            first_byte: self.total,
        };
        let make = || {
            let mut request = Request::new(head.method.clone(), url.clone());
            *request.headers_mut() = head.headers.clone();
            *request.body_mut() = Some(body.clone().into());
            Ok(request)
        };
        let response = http::exchange(&self.http, port, limits, started, make).await?;
        timeout_at(started + self.total, self.answer(response))
            .await
            .unwrap_or(Err(Failure::FirstByteTimeout(self.total)))
    }

    async fn answer(&self, mut response: Response) -> Result<HttpResponse, Failure> {
        let nonsense = || Failure::Nonsense("the answer is not valid HTTP");
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_MAX => {
                    body.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => return Err(Failure::Nonsense("the answer is too large")),
                Ok(None) => break,
                Err(error) => return Err(Failure::of(&error, self.connect)),
            }
        }
        let status = response.status().as_u16();
        let status = status.try_into().map_err(|_no_status| nonsense())?;
        let mut answer = HttpResponse::new(status, SdkBody::from(body));
        for (name, value) in response.headers() {
            // What is not UTF-8 means nothing to the SDK.
            answer
                .headers_mut()
                .try_append(name.clone(), value.clone())
                .ok();
        }
        Ok(answer)
    }
}
