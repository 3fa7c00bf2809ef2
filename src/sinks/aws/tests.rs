use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::config::settings::Settings;
use crate::sinks::fields::{Faults, Fields};
use crate::sinks::tests::{guard, settings};

fn read(document: &Value, settings: &Settings) -> Result<Account, Vec<(String, String)>> {
    let mut whole = json!({
        "region": "eu-west-1",
        "auth": {"type": "aws_keys", "access_key_id": "A", "secret_access_key": "s"}
    });
    for (name, value) in document.as_object().expect("an object") {
        whole[name] = value.clone();
    }
    let faults = Faults::default();
    let mut fields = Fields::open("/sink".to_owned(), &whole, &faults).expect("an object");
    let read = account(&mut fields, settings, None, None);
    fields.close();
    let faults = faults.into_vec();
    match read {
        Some(account) if faults.is_empty() => Ok(account),
        _ => Err(faults
            .into_iter()
            .map(|fault| (fault.pointer, fault.message))
            .collect()),
    }
}

/// An account with static keys in `eu-west-1` unless the document says otherwise.
pub(super) fn signer(document: &Value) -> Account {
    read(document, &settings()).expect("valid")
}

#[test]
fn mistakes_name_the_field_and_repeat_no_credential() {
    for (document, pointer, message) in [
        (json!({"region": null}), "/sink/region", "is missing"),
        (
            json!({"region": "Frankfurt"}),
            "/sink/region",
            "is not a region",
        ),
        (
            json!({"region": "eu-west-1.evil.example"}),
            "/sink/region",
            "is not a region",
        ),
        (json!({"region": 1}), "/sink/region", "must be a string"),
        (json!({"endpoint": "sqs"}), "/sink/endpoint", "is not a URL"),
        (
            json!({"endpoint": "ftp://sqs.example.com"}),
            "/sink/endpoint",
            "another scheme",
        ),
        (
            json!({"endpoint": "https://SECRET@sqs.example.com"}),
            "/sink/endpoint",
            "holds a user name",
        ),
        (
            json!({"endpoint": "https://sqs.example.com?a=SECRET"}),
            "/sink/endpoint",
            "holds a query",
        ),
        (json!({"auth": null}), "/sink/auth", "is missing"),
        (json!({"auth": "SECRET"}), "/sink/auth", "must be an object"),
        (json!({"auth": {}}), "/sink/auth/type", "is missing"),
        (
            json!({"auth": {"type": "basic"}}),
            "/sink/auth/type",
            "is none of",
        ),
        (
            json!({"auth": {"type": "aws_keys", "access_key_id": "A"}}),
            "/sink/auth/secret_access_key",
            "is missing",
        ),
        (
            json!({"auth": {"type": "aws_keys", "access_key_id": "A", "secret_access_key": "SECRET\n"}}),
            "/sink/auth/secret_access_key",
            "visible ASCII",
        ),
        (
            json!({"auth": {"type": "aws_keys", "access_key_id": "A", "secret_access_key": "s", "token": "SECRET"}}),
            "/sink/auth/token",
            "is not known",
        ),
        (
            json!({"auth": {"type": "aws_role"}}),
            "/sink/auth/role_arn",
            "is missing",
        ),
        (
            json!({"auth": {"type": "aws_role", "role_arn": "arn:aws:iam::1:role/x"}}),
            "/sink/auth/role_arn",
            "is not the ARN of a role",
        ),
        (
            json!({"auth": {"type": "aws_role", "role_arn": "arn:aws:iam::123456789012:role/x", "external_id": "a b"}}),
            "/sink/auth/external_id",
            "is not 2 to 1224",
        ),
        (
            json!({"auth": {"type": "aws_default", "role_arn": "x"}}),
            "/sink/auth/role_arn",
            "is not known",
        ),
    ] {
        let faults = read(&document, &settings()).expect_err("a fault");
        let [(found, words)] = &faults[..] else {
            panic!("{document}: {faults:?}")
        };
        assert_eq!(found, pointer, "{document}");
        assert!(words.contains(message), "{document}: {words}");
        assert!(!words.contains("SECRET"), "{words}");
    }
}

#[test]
fn the_operator_decides_whether_own_credentials_may_be_used_and_where_requests_may_go() {
    let role = json!({"auth": {"type": "aws_role", "role_arn": "arn:aws:iam::123456789012:role/x", "external_id": "acme"}});
    let own = json!({"auth": {"type": "aws_default"}});
    let mut open = settings();
    (open.aws.allow_role, open.aws.allow_default) = (true, true);
    for (document, settings, fault) in [
        (&json!({}), &settings(), None),
        (
            &role,
            &settings(),
            Some(("/sink/auth/type", "aws.allow_role")),
        ),
        (
            &own,
            &settings(),
            Some(("/sink/auth/type", "aws.allow_default")),
        ),
        (&role, &open, None),
        (&own, &open, None),
        (&json!({"region": "cn-north-1"}), &open, None),
        (
            &json!({"endpoint": "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com"}),
            &open,
            None,
        ),
        (&json!({"endpoint": "http://127.0.0.1:4566"}), &open, None),
        (
            &json!({"endpoint": "http://10.0.0.1"}),
            &open,
            Some(("/sink/endpoint", "does not send")),
        ),
        (
            &json!({"endpoint": "http://169.254.169.254"}),
            &open,
            Some(("/sink/endpoint", "does not send")),
        ),
    ] {
        let account = read(document, settings).expect("valid");
        let checked = check_egress(&account, &guard(settings), "sqs", "/sink/endpoint");
        match (checked, fault) {
            (Ok(()), None) => {}
            (Err(found), Some((pointer, words))) => {
                assert_eq!(found.pointer, pointer, "{document}");
                assert!(found.message.contains(words), "{document}: {found:?}");
            }
            (checked, _) => panic!("{document}: {checked:?}"),
        }
    }
}

#[test]
fn an_account_does_not_show_its_credentials() {
    let account = signer(&json!({
        "auth": {"type": "aws_keys", "access_key_id": "A", "secret_access_key": "SECRET", "session_token": "SECRET"}
    }));
    assert!(!format!("{account:?}").contains("SECRET"));
}

#[tokio::test]
async fn a_request_that_is_refused_as_a_whole_is_made_again_for_each_entry() {
    let requests: Arc<Mutex<Vec<Vec<u32>>>> = Arc::default();
    let rejected = || without_answer(Outcome::Rejected, "bad");
    let taken = || Answer {
        error: None,
        ..without_answer(Outcome::Delivered, "")
    };
    let request = |entries: Vec<u32>| {
        requests.lock().expect("no panic").push(entries.clone());
        async move {
            match entries.contains(&2) {
                true => Err(rejected()),
                false => Ok(entries.iter().map(|_| taken()).collect()),
            }
        }
    };
    let answers = deliver(vec![1, 2, 3], request).await;
    let outcomes: Vec<Outcome> = answers.iter().map(|answer| answer.outcome).collect();
    assert_eq!(
        outcomes,
        [Outcome::Delivered, Outcome::Rejected, Outcome::Delivered]
    );
    assert_eq!(
        *requests.lock().expect("no panic"),
        [vec![1, 2, 3], vec![1], vec![2], vec![3]]
    );
    // Whatever else goes wrong is the same for all and not tried again here.
    let asked = Mutex::new(0);
    let throttled = |_entries: Vec<u32>| {
        *asked.lock().expect("no panic") += 1;
        async { Err(without_answer(Outcome::Throttled, "slower")) }
    };
    assert_eq!(deliver(vec![1, 2], throttled).await.len(), 2);
    assert_eq!(*asked.lock().expect("no panic"), 1);
}
