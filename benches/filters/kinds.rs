//! Rules of each kind, and events for them.

use posthaste::domain::filter::Dialect;

/// Rules that are alike.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) dialect: Dialect,
    /// The rule of a number, among so many.
    pub(crate) rule: fn(u32, u32) -> String,
}

/// Letters that look random, always the same for a number.
pub(crate) fn word(number: u32) -> String {
    let mut rest = u64::from(number)
        .wrapping_add(7)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    rest ^= rest >> 31;
    let letter = |_| {
        let letter = char::from(b'a' + u8::try_from(rest % 26).unwrap_or(0));
        rest /= 26;
        letter
    };
    (0..9).map(letter).collect()
}

pub(crate) fn all() -> Vec<Kind> {
    let kind = |name, rule| Kind {
        name,
        dialect: Dialect::EventBridge,
        rule,
    };
    vec![
        kind("exact", |n, _| {
            format!(r#"{{"customer":{{"id":["cus_{}"]}}}}"#, word(n))
        }),
        kind("exact-2", |n, _| {
            format!(
                r#"{{"status":["{}"],"customer":{{"id":["cus_{}"]}}}}"#,
                state(n),
                word(n)
            )
        }),
        kind("element", |n, _| {
            format!(
                r#"{{"items":{{"sku":["sku-{}"],"price":[{{"numeric":[">=",{}]}}]}}}}"#,
                word(n),
                n % 50
            )
        }),
        kind("prefix", |n, _| {
            format!(r#"{{"reference":[{{"prefix":"{}-"}}]}}"#, word(n))
        }),
        kind("suffix", |n, _| {
            format!(r#"{{"reference":[{{"suffix":"-{}"}}]}}"#, word(n))
        }),
        Kind {
            name: "contains",
            dialect: Dialect::Hookdeck,
            rule: |n, _| format!(r#"{{"note":{{"$in":"{}"}}}}"#, word(n)),
        },
        kind("wildcard", |n, _| {
            format!(r#"{{"note":[{{"wildcard":"*for {} *"}}]}}"#, word(n))
        }),
        kind("range", |n, filters| {
            // About ten hold any number.
            let low = f64::from(n) * 1e6 / f64::from(filters);
            format!(
                r#"{{"total":[{{"numeric":[">=",{low:.2},"<",{:.2}]}}]}}"#,
                low + 1e7 / f64::from(filters)
            )
        }),
        kind("regex", |n, _| {
            format!(
                r#"{{"note":[{{"regex":"for {}[a-z]* (today|tomorrow)"}}]}}"#,
                word(n)
            )
        }),
        kind("or", |n, _| {
            format!(
                r#"{{"$or":[{{"customer":{{"id":["cus_{}"]}}}},{{"reference":[{{"prefix":"{}-"}}]}}]}}"#,
                word(n),
                word(n + 1_000_000)
            )
        }),
        kind("negative", |n, _| {
            format!(
                r#"{{"customer":{{"id":[{{"anything-but":"cus_{}"}}]}}}}"#,
                word(n)
            )
        }),
    ]
}

fn state(number: u32) -> &'static str {
    match number % 4 {
        0 => "new",
        1 => "paid",
        2 => "sent",
        _ => "returned",
    }
}

/// An event that one filter of most kinds takes.
pub(crate) fn event(number: u32, filters: u32) -> String {
    let hit = number.wrapping_mul(2_654_435_761) % filters;
    let word_of = word(hit);
    let total = f64::from(hit) * 1e6 / f64::from(filters) + 0.5;
    let mut event = format!(
        r#"{{"id":"evt_{number:08}","type":"order.paid","created_at":"2026-01-31T08:00:00Z","api_version":"2026-01-01","live":true,"status":"{}","total":{total:.2},"currency":"EUR","customer":{{"id":"cus_{word_of}","name":"Anna Example","email":"anna@example.com","address":{{"city":"Berlin","country":"DE","zip":"10115"}}}},"items":[{{"sku":"sku-{}","quantity":2,"price":12.5,"title":"A thing"}},{{"sku":"sku-{word_of}","quantity":1,"price":60,"title":"Another thing"}},{{"sku":"sku-none","quantity":4,"price":7.25,"title":"A third thing"}}],"reference":"{word_of}-2026-{word_of}","note":"left at the door for {word_of} today","tags":["a","b","c"],"metadata":{{"channel":"web","campaign":"spring"}},"padding":""#,
        state(hit),
        word(hit + 1),
    );
    while event.len() < 836 {
        event.push('x');
    }
    event.push_str("\"}");
    event
}
