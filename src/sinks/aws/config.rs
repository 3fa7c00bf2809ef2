//! Region, endpoint and credentials of a document of AWS.
//!
//! Invariant: no message repeats a credential.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use reqwest::Url;
use schemars::{Schema, json_schema};

use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::domain::secret::Secret;
use crate::egress::{self, Guard, Refusal};
use crate::sinks::fields::Fields;

/// Tells accounts apart without holding their credentials.
pub(super) type Key = [u8; 32];

/// Who signs requests, for which region, and where they go.
pub(in crate::sinks) struct Account {
    pub(super) region: String,
    /// `None`: the service's own in the region.
    pub(super) endpoint: Option<Url>,
    pub(super) auth: Auth,
    /// Why the operator does not allow these credentials, if so.
    not_allowed: Option<&'static str>,
    key: Key,
}

/// Whose credentials sign.
pub(super) enum Auth {
    /// Those of the document.
    Keys(Keys),
    /// Those of a role of the customer, assumed with the operator's own.
    Role {
        role_arn: String,
        external_id: Option<String>,
    },
    /// The operator's own.
    Own,
}

/// Static credentials.
pub(super) struct Keys {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret,
    pub(super) session_token: Option<Secret>,
}

impl Account {
    /// What tells this account apart.
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Whether the credentials come from the operator's own chain, at first or at last.
    pub(in crate::sinks) fn is_own(&self) -> bool {
        !matches!(self.auth, Auth::Keys(_))
    }

    /// Why the operator does not allow these credentials, if so.
    pub(in crate::sinks) fn not_allowed(&self) -> Option<&'static str> {
        self.not_allowed
    }
}

/// Shows no credentials.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let auth = match &self.auth {
            Auth::Keys(_) => "aws_keys",
            Auth::Role { .. } => "aws_role",
            Auth::Own => "aws_default",
        };
        f.debug_struct("Account")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint.as_ref().map(Url::host_str))
            .field("auth", &auth)
            .finish_non_exhaustive()
    }
}

/// Reads `region`, `endpoint` and `auth`. What the target's own name says of the region and of where it is holds where the
/// document says nothing.
pub(in crate::sinks) fn account(
    fields: &mut Fields<'_>,
    settings: &Settings,
    target_region: Option<&str>,
    target_endpoint: Option<Url>,
) -> Option<Account> {
    let region = region(fields, target_region);
    let endpoint = endpoint(fields);
    let auth = auth(fields);
    let (region, endpoint, auth) = (region?, endpoint.ok()?.or(target_endpoint), auth?);
    let not_allowed = match auth {
        Auth::Role { .. } if !settings.aws.allow_role => {
            Some("`aws_role` is not allowed by the service's operator (setting aws.allow_role)")
        }
        Auth::Own if !settings.aws.allow_default => Some(
            "`aws_default` is not allowed by the service's operator (setting aws.allow_default)",
        ),
        _ => None,
    };
    Some(Account {
        key: key(&region, endpoint.as_ref(), &auth),
        region,
        endpoint,
        auth,
        not_allowed,
    })
}

/// Judges endpoint and credentials by the operator's settings. `service`: the host of the default endpoint, before the
/// region.
pub(in crate::sinks) fn check_egress(
    account: &Account,
    guard: &Guard,
    service: &str,
    pointer: &'static str,
) -> Result<(), Fault> {
    if let Some(words) = account.not_allowed {
        return Err(Fault::new("/sink/auth/type", words));
    }
    let refused = |refusal: Refusal| Fault::new(pointer, refusal.to_string());
    match &account.endpoint {
        Some(endpoint) => guard.check(endpoint).map_err(refused),
        None => {
            let region = &account.region;
            let china = if region.starts_with("cn-") { ".cn" } else { "" };
            let url = format!("https://{service}.{region}.amazonaws.com{china}/");
            guard.check_url(&url).map(drop).map_err(refused)
        }
    }
}

fn region(fields: &mut Fields<'_>, of_target: Option<&str>) -> Option<String> {
    let Some(region) = fields.text("region") else {
        if of_target.is_none() && !fields.has("region") {
            fields.fault("region", "is missing; write it like `eu-west-1`");
        }
        return of_target.map(str::to_owned);
    };
    // It becomes part of a host's name.
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let form = (4..=32).contains(&region.len())
        && region.bytes().all(fits)
        && region.split('-').count() >= 3
        && region.split('-').all(|part| !part.is_empty());
    if !form {
        fields.fault("region", "is not a region; write it like `eu-west-1`");
        return None;
    }
    if let Some(other) = of_target.filter(|other| *other != region) {
        let message = format!("is `{region}`, but the target is in `{other}`");
        fields.fault("region", message);
        return None;
    }
    Some(region.to_owned())
}

fn endpoint(fields: &mut Fields<'_>) -> Result<Option<Url>, ()> {
    let Some(text) = fields.text("endpoint") else {
        return Ok(None);
    };
    match egress::parse_url(text) {
        Ok(url) if url.query().is_none() => Ok(Some(url)),
        Ok(_) => {
            fields.fault("endpoint", "holds a query; write it like `https://host`");
            Err(())
        }
        Err(refusal) => {
            let message = match refusal {
                Refusal::Scheme => "is of another scheme than `https` or `http`",
                Refusal::Userinfo => "holds a user name or a password; write credentials in `auth`",
                _ => "is not a URL; write it like `https://host`",
            };
            fields.fault("endpoint", message);
            Err(())
        }
    }
}

fn auth(fields: &mut Fields<'_>) -> Option<Auth> {
    let Some(mut auth) = fields.object("auth") else {
        if !fields.has("auth") {
            fields.fault(
                "auth",
                "is missing; its `type` is `aws_keys`, `aws_role` or `aws_default`",
            );
        }
        return None;
    };
    let read = match auth.required_text("type") {
        Some("aws_keys") => keys(&mut auth).map(Auth::Keys),
        Some("aws_role") => role(&mut auth),
        Some("aws_default") => Some(Auth::Own),
        Some(_) => {
            auth.fault("type", "is none of `aws_keys`, `aws_role`, `aws_default`");
            // What else stands there belongs to a type that is not known.
            return None;
        }
        None => return None,
    };
    auth.close();
    read
}

fn keys(auth: &mut Fields<'_>) -> Option<Keys> {
    let id = auth.required_text("access_key_id");
    let secret = auth.required_text("secret_access_key");
    let token = auth.text("session_token");
    for (name, value) in [
        ("access_key_id", id),
        ("secret_access_key", secret),
        ("session_token", token),
    ] {
        // They go into headers.
        let visible = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if value.is_some_and(|value| !visible(value)) {
            auth.fault(
                name,
                "is empty or holds characters other than visible ASCII",
            );
        }
    }
    Some(Keys {
        access_key_id: id?.to_owned(),
        secret_access_key: Secret::new(secret?.to_owned()),
        session_token: token.map(|token| Secret::new(token.to_owned())),
    })
}

fn role(auth: &mut Fields<'_>) -> Option<Auth> {
    let arn = auth.required_text("role_arn");
    let external_id = auth.text("external_id");
    if arn.is_some_and(|arn| !is_role(arn)) {
        auth.fault(
            "role_arn",
            "is not the ARN of a role; write it like `arn:aws:iam::123456789012:role/name`",
        );
    }
    // https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
    if external_id.is_some_and(|id| !(2..=1224).contains(&id.len()) || !id.bytes().all(fits)) {
        auth.fault(
            "external_id",
            "is not 2 to 1224 letters, digits and `_+=,.@:/-`",
        );
    }
    Some(Auth::Role {
        role_arn: arn?.to_owned(),
        external_id: external_id.map(str::to_owned),
    })
}

fn is_role(arn: &str) -> bool {
    let mut parts = arn.splitn(6, ':');
    let mut part = || parts.next().unwrap_or_default();
    let head = part() == "arn" && part().starts_with("aws") && part() == "iam" && part().is_empty();
    let account = part();
    let name = part().strip_prefix("role/").unwrap_or_default();
    head && arn.len() <= 2048
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn key(region: &str, endpoint: Option<&Url>, auth: &Auth) -> Key {
    let mut context = Context::new(&SHA256);
    let mut add = |part: Option<&str>| {
        // With its length, so that no two lists of parts read alike.
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        context.update(&length.to_be_bytes());
        context.update(part.unwrap_or_default().as_bytes());
    };
    add(Some(region));
    add(endpoint.map(Url::as_str));
    match auth {
        Auth::Keys(keys) => {
            add(Some("keys"));
            add(Some(&keys.access_key_id));
            add(Some(keys.secret_access_key.expose()));
            add(keys.session_token.as_ref().map(Secret::expose));
        }
        Auth::Role {
            role_arn,
            external_id,
        } => {
            add(Some("role"));
            add(Some(role_arn));
            add(external_id.as_deref());
        }
        Auth::Own => add(Some("own")),
    }
    let mut key = Key::default();
    key.copy_from_slice(context.finish().as_ref());
    key
}

/// The schema of `region`.
pub(in crate::sinks) fn region_schema() -> Schema {
    json_schema!({
        "description": "The region of the target. May be absent where the target's name tells it.",
        "type": ["string", "null"],
        "pattern": "^[a-z0-9]+(-[a-z0-9]+){2,}$",
        "maxLength": 32
    })
}

/// The schema of `endpoint`.
pub(in crate::sinks) fn endpoint_schema() -> Schema {
    json_schema!({
        "description": "Where requests go instead of the service's own endpoint: a VPC endpoint, a compatible server.",
        "type": ["string", "null"],
        "format": "uri",
        "default": null
    })
}

/// The schema of `auth`.
pub(in crate::sinks) fn auth_schema() -> Schema {
    json_schema!({
        "description": "Whose credentials sign.",
        "oneOf": [
            {
                "description": "Static credentials.",
                "type": "object",
                "required": ["type", "access_key_id", "secret_access_key"],
                "additionalProperties": false,
                "properties": {
                    "type": {"const": "aws_keys"},
                    "access_key_id": {"type": "string", "minLength": 1},
                    "secret_access_key": {"type": "string", "minLength": 1},
                    "session_token": {"type": ["string", "null"]}
                }
            },
            {
                "description": "A role of yours that the service assumes with its own credentials, where the setting aws.allow_role lets it.",
                "type": "object",
                "required": ["type", "role_arn"],
                "additionalProperties": false,
                "properties": {
                    "type": {"const": "aws_role"},
                    "role_arn": {"type": "string", "pattern": "^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", "maxLength": 2048},
                    "external_id": {
                        "description": "What the role's trust policy asks for, so that no other customer of the service can have it assumed.",
                        "type": ["string", "null"],
                        "pattern": "^[A-Za-z0-9_+=,.@:/-]{2,1224}$"
                    }
                }
            },
            {
                "description": "The service's own credentials, where the setting aws.allow_default lets it.",
                "type": "object",
                "required": ["type"],
                "additionalProperties": false,
                "properties": {"type": {"const": "aws_default"}}
            }
        ]
    })
}
