use super::*;

/// Verdicts with nothing allowed.
const VERDICTS: &str = include_str!("../../tests/data/egress.txt");

fn guard(allow: &[&str], allow_http: bool) -> Guard {
    let settings = Egress {
        allow: allow.iter().map(|entry| (*entry).to_owned()).collect(),
        allow_http,
        default_credentials: false,
    };
    Guard::new(&settings, Duration::from_secs(2))
        .expect("settings")
        .with_names(&[
            ("public.example", &["8.8.8.8"]),
            ("public.example.", &["8.8.8.8"]),
            ("xn--bcher-kva.example", &["8.8.4.4"]),
            ("both.example", &["8.8.8.8", "2001:4860:4860::8888"]),
            ("loop.example", &["127.0.0.1"]),
            ("mixed.example", &["8.8.8.8", "10.0.0.1"]),
            ("mapped.example", &["::ffff:10.0.0.1"]),
            ("metadata.example", &["169.254.169.254"]),
            ("empty.example", &[]),
            ("hooks.internal", &["10.20.0.7"]),
            ("receiver", &["172.18.0.3"]),
        ])
}

fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    VERDICTS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once('\t').expect("verdict, tab, URL"))
}

async fn verdict(guard: &Guard, url: &str) -> String {
    match guard.judge(url).await {
        Ok(_) => "allowed".to_owned(),
        Err(refusal) => format!("refused {}", refusal.reason()),
    }
}

#[tokio::test]
async fn urls_are_judged_as_the_table_says() {
    let guard = guard(&[], false);
    let mut wrong = Vec::new();
    for (expected, url) in rows() {
        let found = verdict(&guard, url).await;
        if found != expected {
            wrong.push(format!("{url:?}: {found}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(rows().count() > 150);
}

#[tokio::test]
async fn what_is_allowed_may_be_sent_to_and_nothing_beside_it() {
    for (allow, url, expected) in [
        (&["127.0.0.0/8"][..], "https://127.0.0.1:8080/", "allowed"),
        (&["127.0.0.0/8"], "https://0x7f.1/", "allowed"),
        (&["127.0.0.0/8"], "https://[::ffff:127.0.0.1]/", "allowed"),
        (&["127.0.0.0/8"], "https://loop.example/", "allowed"),
        (&["127.0.0.0/8"], "https://[::1]/", "refused address"),
        (&["127.0.0.0/8"], "https://localhost/", "refused host"),
        (&["127.0.0.0/8"], "https://127.0.0.1:6379/", "refused port"),
        (
            &["127.0.0.0/8"],
            "https://mixed.example/",
            "refused address",
        ),
        (&["10.0.0.0/8"], "https://mixed.example/", "allowed"),
        (&["::1/128"], "https://[::1]/", "allowed"),
        (
            &["::/0", "0.0.0.0/0"],
            "https://[fd00:ec2::254]/",
            "refused address",
        ),
        (
            &["::/0", "0.0.0.0/0"],
            "https://metadata.example/",
            "refused address",
        ),
        (
            &["metadata.example"],
            "https://metadata.example/",
            "refused address",
        ),
        (&["169.254.169.254"], "https://metadata.example/", "allowed"),
        (
            &["169.254.169.254"],
            "https://[::ffff:a9fe:a9fe]/",
            "allowed",
        ),
        (&["127.0.0.1:6379"], "https://127.0.0.1:6379/", "allowed"),
        (&["127.0.0.1:6379"], "https://127.0.0.1/", "refused address"),
        (&["[::1]:6379"], "https://[::1]:6379/", "allowed"),
        (
            &["public.example:25"],
            "https://public.example:25/",
            "allowed",
        ),
        (&["public.example:25"], "https://public.example/", "allowed"),
        (
            &["public.example:25"],
            "https://public.example:26/",
            "refused port",
        ),
        (
            &["public.example"],
            "https://public.example:25/",
            "refused port",
        ),
        (&["hooks.internal"], "https://hooks.internal/", "allowed"),
        (
            &["*.internal"],
            "https://hooks.internal./",
            "refused unresolvable",
        ),
        (&["*.internal"], "https://hooks.internal/", "allowed"),
        (
            &["hooks.internal:8443"],
            "https://hooks.internal:8443/",
            "allowed",
        ),
        (
            &["hooks.internal:8443"],
            "https://hooks.internal/",
            "refused host",
        ),
        (
            &["loop.example:8443"],
            "https://loop.example/",
            "refused address",
        ),
        (
            &["10.20.0.7:8443", "hooks.internal"],
            "https://hooks.internal:8443/",
            "allowed",
        ),
        (&["receiver"], "https://receiver:8080/", "allowed"),
        (&["receiver"], "https://172.18.0.3:8080/", "refused address"),
    ] {
        assert_eq!(
            verdict(&guard(allow, false), url).await,
            expected,
            "{url} with {allow:?}"
        );
    }
}

#[tokio::test]
async fn http_is_for_settings_that_allow_it() {
    let guard = guard(&[], true);
    for (url, expected) in [
        ("http://public.example/", "allowed"),
        ("http://127.0.0.1/", "refused address"),
        ("gopher://127.0.0.1", "refused scheme"),
        ("ftp://public.example", "refused scheme"),
    ] {
        assert_eq!(verdict(&guard, url).await, expected, "{url}");
    }
}

#[test]
fn control_characters_are_refused_wherever_they_stand() {
    let guard = guard(&[], false);
    for control in ['\0', '\t', '\n', '\r', '\u{1b}', '\u{7f}', '\u{85}'] {
        for url in [
            format!("{control}https://public.example/"),
            format!("ht{control}tps://public.example/"),
            format!("https://pub{control}lic.example/"),
            format!("https://public.example/a{control}b"),
            format!("https://public.example/{control}"),
        ] {
            assert_eq!(guard.check_url(&url), Err(Refusal::Malformed), "{url:?}");
        }
    }
    let blank_after = guard.check_url("https://public.example/ ");
    assert_eq!(blank_after, Err(Refusal::Malformed));
    let long = format!("https://public.example/{}", "a".repeat(URL_MAX));
    assert_eq!(guard.check_url(&long), Err(Refusal::Malformed));
}

#[test]
fn what_is_dialled_is_the_url_as_it_was_understood() {
    let guard = guard(&["127.0.0.0/8"], false);
    for (given, dialled) in [
        (
            "HTTPS:\\\\PUBLIC.example\\a b?c#d",
            "https://public.example/a%20b?c",
        ),
        ("https://0x7f.1", "https://127.0.0.1/"),
        (
            "https://b\u{fc}cher.example:443",
            "https://xn--bcher-kva.example/",
        ),
    ] {
        let url = guard.check_url(given).expect(given);
        assert_eq!(url.as_str(), dialled);
    }
}

#[test]
fn a_refusal_says_one_sentence_whatever_its_reason() {
    for refusal in Refusal::ALL {
        assert_eq!(refusal.to_string(), Refusal::SENTENCE);
    }
    let reasons: std::collections::HashSet<_> = Refusal::ALL.map(Refusal::reason).into();
    assert_eq!(reasons.len(), Refusal::ALL.len());
}

#[test]
fn refusals_are_counted_by_reason_and_start_at_zero() {
    let guard = guard(&[], false);
    assert!(guard.refused().all(|(_, count)| count == 0));
    guard.count(Refusal::Address);
    guard.count(Refusal::Address);
    guard.count(Refusal::Unresolvable);
    let counted: Vec<_> = guard.refused().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [("address", 2), ("unresolvable", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_takes_too_long_is_unresolvable() {
    let mut guard = guard(&[], false);
    guard.names = Names::Never;
    assert_eq!(
        guard.judge("https://slow.example/").await,
        Err(Refusal::Unresolvable)
    );
}

#[tokio::test]
async fn lines_are_answered_in_their_order() {
    let mut input = Vec::new();
    let mut expected = Vec::new();
    for (verdict, url) in rows() {
        input.extend_from_slice(format!("{url}\n\n\r\n").as_bytes());
        expected.extend_from_slice(format!("{verdict}\t{url}\n").as_bytes());
    }
    let mut output = Vec::new();
    run_lines(&guard(&[], false), input.as_slice(), &mut output)
        .await
        .expect("no error");
    assert_eq!(String::from_utf8(output), String::from_utf8(expected));
}

#[tokio::test]
async fn hostile_lines_do_not_stop_the_run() {
    let long = vec![b'a'; 200 * 1024];
    let mut input = b"\xff\xfe\nhttps://\xc3\x28/\n\0\n \n".to_vec();
    input.extend_from_slice(&long);
    input.extend_from_slice(b"\nhttps://public.example/\r\nhttps://127.0.0.1/");
    let mut output = Vec::new();
    let input = tokio::io::BufReader::with_capacity(7, input.as_slice());
    run_lines(&guard(&[], false), input, &mut output)
        .await
        .expect("no error");

    let mut expected =
        b"refused malformed\t\xff\xfe\nrefused malformed\thttps://\xc3\x28/\n".to_vec();
    expected.extend_from_slice(b"refused malformed\t\0\nrefused malformed\t \nrefused malformed\t");
    expected.extend_from_slice(&long[..64 * 1024]);
    expected.extend_from_slice(
        b"\nallowed\thttps://public.example/\nrefused address\thttps://127.0.0.1/\n",
    );
    assert_eq!(output, expected);
}

#[tokio::test]
async fn a_line_is_answered_before_the_next_one_comes() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, BufWriter, duplex};
    let (mut typed, input) = duplex(1024);
    let (output, answers) = duplex(1024);
    let run = tokio::spawn(async move {
        run_lines(
            &guard(&[], false),
            BufReader::new(input),
            BufWriter::new(output),
        )
        .await
    });
    let mut answers = BufReader::new(answers).lines();
    for url in ["https://127.0.0.1/", "https://10.0.0.1/"] {
        typed
            .write_all(format!("{url}\n").as_bytes())
            .await
            .expect("typed");
        let answer = answers.next_line().await.expect("read").expect("an answer");
        assert_eq!(answer, format!("refused address\t{url}"));
    }
    drop(typed);
    run.await.expect("task").expect("no error");
}

#[tokio::test]
async fn a_reader_that_fails_ends_the_run_with_its_error() {
    let broken = broken_input();
    let error = run_lines(&guard(&[], false), broken, Vec::new())
        .await
        .expect_err("broken input");
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

/// An input whose first read fails.
fn broken_input() -> impl tokio::io::AsyncBufRead + Unpin {
    struct Broken;
    impl tokio::io::AsyncRead for Broken {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
        }
    }
    tokio::io::BufReader::new(Broken)
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(5_000))]
    #[test]
    fn whatever_is_accepted_is_public_and_can_be_dialled(
        text in "https?:[/\\\\]{0,3}([0-9xXa-fA-F.:\\[\\]%]{1,24}|\\PC{0,24}|[a-z0-9.-]{1,24}\\.example)(:[0-9]{1,5})?[/?#]?\\PC{0,16}"
    ) {
        let guard = guard(&[], true);
        if let Ok(url) = guard.check_url(&text) {
            proptest::prop_assert!(guard.check(&url).is_ok());
            let literal = match url.host() {
                Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
                Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
                _ => None,
            };
            proptest::prop_assert!(literal.is_none_or(|ip| address::is_public(address::judged(ip))));
            proptest::prop_assert!(url.as_str().parse::<axum::http::Uri>().is_ok(), "{url}");
        }
    }
}

#[tokio::test]
async fn the_system_s_names_are_resolved() {
    let mut guard = guard(&["localhost"], false);
    guard.names = Names::System;
    assert_eq!(verdict(&guard, "https://localhost/").await, "allowed");
    let unknown = "https://no-such-host.invalid/";
    assert_eq!(verdict(&guard, unknown).await, "refused unresolvable");
}
