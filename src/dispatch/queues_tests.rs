use super::*;

const FREE: Allowance = Allowance {
    enabled: true,
    concurrency: 2,
    rate: None,
    version: 0,
};

/// One attempt at a time.
const ONE: Allowance = Allowance {
    concurrency: 1,
    ..FREE
};

fn limits(slots: usize) -> Limits {
    Limits {
        slots,
        backlog_slots: slots * 3 / 4,
        queue: 3,
        queue_bytes: 1000,
        queue_wait: 1000,
        slow_after: 2000,
    }
}

fn id(name: &str) -> DestinationId {
    DestinationId::parse(name).expect("valid")
}

/// Starts all that may start; returns what was started, in order.
fn drain(queues: &mut Queues<u32>, now: Millis) -> Vec<Start<u32>> {
    let mut started = Vec::new();
    loop {
        match queues.next(now) {
            Next::Start(start) => started.push(start),
            Next::HandOver(works, cause) => panic!("handed over {works:?}: {cause:?}"),
            Next::Nothing => return started,
        }
    }
}

fn works(started: &[Start<u32>]) -> Vec<u32> {
    started.iter().map(|start| start.work).collect()
}

#[test]
fn a_destination_never_exceeds_its_concurrency_nor_all_the_slots() {
    let mut queues = Queues::new(limits(3));
    for work in 0..4 {
        queues
            .offer_fresh(&id("a"), FREE, work, 1, false, 0)
            .expect("room");
        drain(&mut queues, 0);
    }
    assert_eq!(queues.in_flight(), (2, 0));
    for work in 10..14 {
        queues
            .offer_fresh(&id("b"), FREE, work, 1, false, 0)
            .expect("room");
        drain(&mut queues, 0);
    }
    assert_eq!(queues.in_flight(), (3, 0));
}

#[test]
fn what_finds_a_full_queue_comes_back_at_once() {
    let mut queues = Queues::new(limits(10));
    let mut refused = Vec::new();
    for work in 0..8 {
        if let Err((work, cause)) = queues.offer_fresh(&id("a"), FREE, work, 1, false, 0) {
            refused.push((work, cause));
        }
        drain(&mut queues, 0);
    }
    let expected: Vec<_> = [5, 6, 7]
        .into_iter()
        .map(|work| (work, HandOver::QueueFull))
        .collect();
    assert_eq!(refused, expected);
    // Another destination is not touched by that.
    queues
        .offer_fresh(&id("b"), FREE, 9, 1, false, 0)
        .expect("room");
    assert_eq!(works(&drain(&mut queues, 0)), [9]);
}

#[test]
fn bytes_and_short_memory_bound_a_queue_too() {
    let mut queues = Queues::new(limits(10));
    queues
        .offer_fresh(&id("a"), ONE, 0, 5000, false, 0)
        .expect("an event starts whatever its size");
    drain(&mut queues, 0);
    queues
        .offer_fresh(&id("a"), ONE, 1, 600, false, 0)
        .expect("room");
    let full = queues
        .offer_fresh(&id("a"), ONE, 2, 600, false, 0)
        .expect_err("too many bytes");
    assert_eq!(full, (2, HandOver::QueueFull));
    let short = queues
        .offer_fresh(&id("a"), ONE, 3, 1, true, 0)
        .expect_err("memory is short");
    assert_eq!(short, (3, HandOver::Memory));
}

#[test]
fn destinations_take_turns_when_slots_are_scarce() {
    let mut queues = Queues::new(limits(1));
    for work in 0..3 {
        queues
            .offer_fresh(&id("a"), FREE, work, 1, false, 0)
            .expect("room");
    }
    queues
        .offer_fresh(&id("b"), FREE, 10, 1, false, 0)
        .expect("room");
    let mut order = Vec::new();
    for _ in 0..4 {
        for start in drain(&mut queues, 0) {
            order.push(start.work);
            queues.finish(&start.destination, start.token, Effect::None, 0);
        }
    }
    assert_eq!(order.first(), Some(&0));
    assert_eq!(
        order.get(1),
        Some(&10),
        "the second destination waits for one delivery only: {order:?}"
    );
}

#[test]
fn fresh_and_backlog_each_have_half_while_both_wait() {
    let mut queues = Queues::new(limits(10));
    let four = Allowance {
        concurrency: 4,
        ..FREE
    };
    for work in 0..3 {
        queues
            .offer_backlog(&id("a"), four, 100 + work, 0)
            .expect("room");
        queues
            .offer_fresh(&id("a"), four, work, 1, false, 0)
            .expect("room");
    }
    let started = drain(&mut queues, 0);
    let backlog = started
        .iter()
        .filter(|start| start.kind == Kind::Backlog)
        .count();
    assert_eq!((started.len(), backlog), (4, 2));
}

#[test]
fn with_a_concurrency_of_one_both_kinds_take_turns() {
    let mut queues = Queues::new(limits(10));
    for work in 0..2 {
        queues
            .offer_fresh(&id("a"), ONE, work, 1, false, 0)
            .expect("room");
        queues
            .offer_backlog(&id("a"), ONE, 100 + work, 0)
            .expect("room");
    }
    let mut kinds = Vec::new();
    for _ in 0..4 {
        for start in drain(&mut queues, 0) {
            kinds.push(start.kind);
            queues.finish(&start.destination, start.token, Effect::None, 0);
        }
    }
    assert_eq!(
        kinds,
        [Kind::Fresh, Kind::Backlog, Kind::Fresh, Kind::Backlog]
    );
}

#[test]
fn backlog_leaves_slots_for_fresh_events() {
    let mut queues = Queues::new(limits(4));
    for name in ["a", "b", "c", "d", "e"] {
        queues.offer_backlog(&id(name), FREE, 1, 0).expect("room");
    }
    assert_eq!(
        drain(&mut queues, 0).len(),
        3,
        "three quarters of the slots"
    );
    queues
        .offer_fresh(&id("f"), FREE, 2, 1, false, 0)
        .expect("room");
    assert_eq!(works(&drain(&mut queues, 0)), [2]);
}

#[test]
fn a_full_backlog_tells_when_there_is_room() {
    let mut queues = Queues::new(limits(4));
    for work in 0..4 {
        queues.offer_backlog(&id("a"), ONE, work, 0).expect("room");
    }
    let (work, room) = queues.offer_backlog(&id("a"), ONE, 4, 0).expect_err("full");
    assert_eq!(work, 4);
    drain(&mut queues, 0);
    let waiting = room.notified();
    tokio::pin!(waiting);
    assert!(waiting.enable(), "starting one made room");
}

#[test]
fn what_waited_too_long_is_given_back() {
    let mut queues = Queues::new(limits(4));
    for work in 0..4 {
        queues
            .offer_fresh(&id("a"), FREE, work, 1, false, 0)
            .expect("room");
        drain(&mut queues, 0);
    }
    assert!(queues.sweep(1000).is_empty());
    let over: Vec<u32> = queues
        .sweep(1001)
        .into_iter()
        .map(|(work, _)| work)
        .collect();
    assert_eq!(over, [2, 3]);
    assert_eq!(queues.queued(), 0);
}

#[test]
fn destinations_with_slow_attempts_get_no_new_ones_when_these_hold_half_of_the_slots() {
    let mut queues = Queues::new(limits(4));
    for work in 0..3 {
        queues
            .offer_fresh(&id("slow"), FREE, work, 1, false, 0)
            .expect("room");
    }
    let slow = drain(&mut queues, 0);
    queues.sweep(2000);
    let back = queues
        .offer_fresh(&id("slow"), FREE, 9, 1, false, 2000)
        .expect_err("blocked");
    assert_eq!(back, (9, HandOver::Slow));
    queues
        .offer_fresh(&id("fast"), FREE, 5, 1, false, 2000)
        .expect("room");
    assert_eq!(works(&drain(&mut queues, 2000)), [5]);
    for start in slow {
        queues.finish(&start.destination, start.token, Effect::None, 2100);
    }
    queues.sweep(2100);
    queues
        .offer_fresh(&id("slow"), FREE, 10, 1, false, 2100)
        .expect("free again");
    assert_eq!(works(&drain(&mut queues, 2100)), [10]);
}

#[test]
fn a_hold_sends_all_fresh_events_away_and_the_backlog_goes_on_when_it_ends() {
    let mut queues = Queues::new(limits(4));
    let one = Allowance {
        concurrency: 1,
        ..FREE
    };
    for work in 0..2 {
        queues
            .offer_fresh(&id("a"), one, work, 1, false, 0)
            .expect("room");
    }
    let first = drain(&mut queues, 0).remove(0);
    let hold = Effect::Throttled { hold_until: 60_000 };
    queues.finish(&first.destination, first.token, hold, 10);
    match queues.next(20) {
        Next::HandOver(works, HandOver::Throttled) => assert_eq!(works, [1], "what waited already"),
        other => panic!("{other:?}"),
    }
    for work in 2..50 {
        let back = queues.offer_fresh(&id("a"), one, work, 1, false, 30);
        assert_eq!(back, Err((work, HandOver::Throttled)));
        let refused = queues.offer_backlog(&id("a"), one, work, 30);
        assert!(refused.is_err(), "the hold is the whole destination's");
    }
    assert_eq!(queues.timers.len(), 1, "one timer, however many came");
    let wake = queues.next_timer().expect("a timer");
    assert!(wake >= 60_000, "{wake}");
    queues.wake(wake);
    queues.offer_backlog(&id("a"), one, 99, wake).expect("room");
    assert_eq!(works(&drain(&mut queues, wake)), [99]);
}

#[test]
fn a_destination_that_is_not_enabled_starts_nothing() {
    let mut queues = Queues::new(limits(4));
    let paused = Allowance {
        enabled: false,
        ..FREE
    };
    let back = queues
        .offer_fresh(&id("a"), paused, 0, 1, false, 0)
        .expect_err("paused");
    assert_eq!(back, (0, HandOver::Paused));
    assert!(queues.offer_backlog(&id("a"), paused, 1, 0).is_err());
}

#[test]
fn nothing_is_kept_of_destinations_at_rest() {
    let mut queues = Queues::new(limits(4));
    for n in 0..100 {
        queues
            .offer_fresh(&id(&format!("d{n}")), FREE, n, 1, false, 0)
            .expect("room");
        for start in drain(&mut queues, 0) {
            queues.finish(&start.destination, start.token, Effect::None, 1);
        }
    }
    queues.sweep(5000);
    assert_eq!(queues.len(), 0);
}

/// A destination with one fresh event, whose turn it is, and one of the backlog, while others hold all slots.
fn one_of_each_without_a_slot() -> (Queues<u32>, Vec<Start<u32>>) {
    let mut queues = Queues::new(limits(2));
    for (name, work) in [("other", 7), ("another", 8)] {
        queues
            .offer_fresh(&id(name), FREE, work, 1, false, 0)
            .expect("room");
    }
    let others = drain(&mut queues, 0);
    queues
        .offer_fresh(&id("a"), ONE, 1, 1, false, 0)
        .expect("room");
    queues.offer_backlog(&id("a"), ONE, 100, 0).expect("room");
    (queues, others)
}

#[test]
fn backlog_goes_on_when_the_fresh_event_before_it_waited_too_long() {
    let (mut queues, others) = one_of_each_without_a_slot();
    assert_eq!(queues.sweep(1001).len(), 1);
    for other in others {
        queues.finish(&other.destination, other.token, Effect::None, 1001);
    }
    assert_eq!(works(&drain(&mut queues, 1001)), [100]);
}

#[test]
fn backlog_goes_on_when_the_fresh_event_before_it_is_let_go() {
    let (mut queues, others) = one_of_each_without_a_slot();
    assert_eq!(queues.take_dead(|work| *work == 1), [1]);
    for other in others {
        queues.finish(&other.destination, other.token, Effect::None, 10);
    }
    assert_eq!(works(&drain(&mut queues, 10)), [100]);
}

#[test]
fn an_older_document_does_not_replace_a_newer_one() {
    let mut queues = Queues::new(limits(4));
    let newer = Allowance {
        concurrency: 1,
        version: 2,
        ..FREE
    };
    queues.offer_backlog(&id("a"), newer, 1, 0).expect("room");
    queues.offer_backlog(&id("a"), newer, 2, 0).expect("room");
    let first = drain(&mut queues, 0).remove(0);
    // A reader that looked the destination up before it was enabled.
    let before = Allowance {
        enabled: false,
        version: 1,
        ..FREE
    };
    queues
        .offer_fresh(&id("a"), before, 3, 1, false, 0)
        .expect("the newer document counts");
    queues.finish(&first.destination, first.token, Effect::None, 0);
    assert_eq!(drain(&mut queues, 0).len(), 1);
}

#[test]
fn everything_that_waits_for_a_destination_can_be_taken_back() {
    let (mut queues, _others) = one_of_each_without_a_slot();
    assert_eq!(queues.take_all(&id("a")), [1, 100]);
    assert!(queues.take_all(&id("a")).is_empty());
    assert_eq!(queues.queued(), 0);
}

#[test]
fn a_ring_names_a_destination_once() {
    let mut queues = Queues::new(limits(1));
    queues
        .offer_fresh(&id("other"), FREE, 7, 1, false, 0)
        .expect("room");
    drain(&mut queues, 0);
    for round in 0..100 {
        let now = round * 2000;
        queues
            .offer_fresh(&id("a"), FREE, 1, 1, false, now)
            .expect("room");
        queues.sweep(now + 1001);
    }
    assert_eq!(queues.fresh_ring.len(), 1);
}

/// Offers so many fresh deliveries and starts what may start; returns how many are in flight then.
fn offer_many(queues: &mut Queues<u32>, name: &str, count: u32, now: Millis) -> Vec<Start<u32>> {
    let wide = Allowance {
        concurrency: 8,
        ..FREE
    };
    let mut started = Vec::new();
    for work in 0..count {
        // What finds a full queue is handed over, and no matter here.
        if queues
            .offer_fresh(&id(name), wide, work, 1, false, now)
            .is_ok()
        {
            started.extend(drain(queues, now));
        }
    }
    started
}

#[test]
fn destinations_that_hang_leave_half_of_the_slots_to_those_that_do_not() {
    let mut queues = Queues::new(limits(20));
    for name in ["a", "b", "c", "d"] {
        offer_many(&mut queues, name, 20, 0);
    }
    // Ten for who came first, and one for each that has none.
    assert_eq!(queues.in_flight(), (12, 0));
    for now in 0..100 {
        for start in offer_many(&mut queues, "healthy", 1, now) {
            queues.finish(&start.destination, start.token, Effect::None, now);
        }
    }
    assert_eq!(queues.queued(), 12, "only the hanging ones' wait");
}

#[test]
fn who_gives_slots_back_may_use_them_all_and_who_waited_goes_on_when_there_is_room() {
    let mut queues = Queues::new(limits(20));
    let hanging = offer_many(&mut queues, "a", 20, 0);
    let more = offer_many(&mut queues, "b", 20, 0);
    assert_eq!((hanging.len(), more.len()), (8, 2));
    // It has ended one: now it is trusted with its whole concurrency.
    let first = &more[0];
    queues.finish(&first.destination, first.token, Effect::None, 1);
    let again = drain(&mut queues, 1);
    assert_eq!(
        again.len(),
        3,
        "all that its queue held, while more than half are taken"
    );
    assert_eq!(queues.in_flight(), (12, 0));
    // One that was parked goes on by itself once half of the slots are free.
    let parked = offer_many(&mut queues, "c", 3, 1);
    assert_eq!(parked.len(), 1);
    for start in hanging.iter().chain(&again) {
        queues.finish(&start.destination, start.token, Effect::None, 5000);
    }
    let names: Vec<String> = drain(&mut queues, 5000)
        .iter()
        .map(|start| start.destination.to_string())
        .collect();
    assert!(names.contains(&id("c").to_string()), "{names:?}");
}

#[test]
fn destinations_known_to_be_slow_share_half_of_the_slots_however_many_they_are() {
    let mut queues = Queues::new(limits(20));
    let names: Vec<String> = (0..30).map(|number| format!("slow-{number}")).collect();
    let mut started = Vec::new();
    for name in &names {
        started.extend(offer_many(&mut queues, name, 2, 0));
    }
    assert_eq!(queues.in_flight(), (20, 0), "nobody could know");
    // They time out, each of the others gets its turn, and at last all are known.
    let mut now = 0;
    for _ in 0..3 {
        now += 15_000;
        for start in std::mem::take(&mut started) {
            queues.finish(&start.destination, start.token, Effect::None, now);
        }
        for name in &names {
            started.extend(offer_many(&mut queues, name, 2, now));
        }
    }
    assert_eq!(queues.in_flight(), (10, 0));
    for _ in 0..100 {
        for start in offer_many(&mut queues, "healthy", 1, now) {
            queues.finish(&start.destination, start.token, Effect::None, now);
        }
    }
    // Slow is not refused: while others take all the rest, each ended one makes room for the next.
    let before = queues.queued();
    for number in 0..10 {
        offer_many(&mut queues, &format!("other-{number}"), 1, now);
    }
    assert_eq!(queues.in_flight(), (20, 0));
    let first = started.remove(0);
    queues.finish(&first.destination, first.token, Effect::None, now + 5000);
    let next = drain(&mut queues, now + 5000);
    assert_eq!(next.len(), 1);
    assert_eq!(queues.queued(), before - 1);
}

#[test]
fn a_destination_that_answers_again_is_not_slow_any_more() {
    let mut queues = Queues::new(limits(4));
    let mut now = 0;
    for (takes, slow) in [(2000, true), (1999, false), (5000, true), (0, false)] {
        for start in offer_many(&mut queues, "a", 1, now) {
            now += takes;
            queues.finish(&start.destination, start.token, Effect::None, now);
        }
        assert_eq!(queues.len(), usize::from(slow), "after {takes} ms");
    }
    offer_many(&mut queues, "a", 1, now);
    queues.sweep(now + 2000);
    assert_eq!(
        queues.slow_in_flight, 1,
        "one that has not ended yet counts too"
    );
}
