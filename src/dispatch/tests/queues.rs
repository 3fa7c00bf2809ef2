use super::*;

#[path = "crowd.rs"]
mod crowd;

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
        queue_most: 3,
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

/// How many deliveries wait after more than enough came at once, with an attempt of `took` before.
fn waiting_after(took: Millis, allowance: Allowance) -> usize {
    let mut queues = Queues::new(Limits {
        queue_most: 6,
        ..limits(10)
    });
    for work in 0..2 {
        queues
            .offer_fresh(&id("a"), allowance, work, 1, false, 0)
            .expect("room");
    }
    let first = drain(&mut queues, 0).remove(0);
    queues.finish(&id("a"), first.token, Effect::None, took);
    drain(&mut queues, took);
    for work in 10..20 {
        if queues
            .offer_fresh(&id("a"), allowance, work, 1, false, took)
            .is_err()
        {
            break;
        }
    }
    queues.queued()
}

#[test]
fn a_queue_is_as_long_as_its_destination_drains_in_time() {
    for (took, expected) in [(8000, 3), (2000, 4), (800, 6), (0, 6)] {
        assert_eq!(waiting_after(took, ONE), expected, "{took} ms");
    }
    let slow = Allowance {
        rate: Some(4.0),
        ..ONE
    };
    assert_eq!(waiting_after(0, slow), 4);
}

#[test]
fn only_a_fast_destination_is_waited_for() {
    let many = Allowance {
        concurrency: 64,
        ..FREE
    };
    // So many slots that they are not scarce.
    let mut queues = Queues::new(limits(200));
    for work in 0..64 {
        queues
            .offer_fresh(&id("a"), many, work, 1, false, 0)
            .expect("room");
        drain(&mut queues, 0);
    }
    assert!(
        queues.fresh_room(&id("a"), 0).is_none(),
        "nothing is known yet"
    );
    for token in 0..40 {
        queues.finish(&id("a"), token, Effect::None, 5);
    }
    assert!(queues.fresh_room(&id("a"), 5).is_some());
    let stuck = queues.fresh_room(&id("a"), 500);
    assert!(stuck.is_some(), "40 of 64 can go on");
    for work in 0..40 {
        queues
            .offer_fresh(&id("a"), many, work, 1, false, 500)
            .expect("room");
        drain(&mut queues, 500);
    }
    assert!(queues.fresh_room(&id("a"), 1000).is_none(), "all hang");
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

/// A backlog's queue that is full, with `concurrency` attempts in flight since 0.
fn full(allowance: Allowance) -> Queues<u32> {
    let mut queues = Queues::new(limits(10));
    while queues.offer_backlog(&id("a"), allowance, 0, 0).is_ok() {
        drain(&mut queues, 0);
    }
    queues
}

#[test]
fn those_that_find_no_room_get_turns_at_the_pace_of_their_destination() {
    // Two at a time, each taken to last 50 ms.
    let mut queues = full(FREE);
    let turn = |queues: &mut Queues<u32>, now| queues.backlog_turn(&id("a"), now, 10_000);
    let turns: Vec<_> = (0..4).map(|_| turn(&mut queues, 0)).collect();
    assert_eq!(turns, [25, 50, 75, 100].map(Some));
    assert_eq!(turn(&mut queues, 50), Some(75), "two had their turns");
    assert_eq!(turn(&mut queues, 249), Some(25), "all had");
    assert_eq!(queues.backlog_turn(&id("b"), 0, 10_000), None, "unknown");
}

#[test]
fn a_turn_is_never_further_away_than_asked_and_a_faster_destination_soon_gets_nearer_ones() {
    let slow = Allowance {
        rate: Some(1.0),
        ..FREE
    };
    let mut queues = full(slow);
    let last = (0..20).map(|_| queues.backlog_turn(&id("a"), 0, 10_000));
    assert_eq!(last.last(), Some(Some(10_000)));
    queues.update(&id("a"), Allowance { version: 1, ..FREE });
    assert_eq!(queues.backlog_turn(&id("a"), 0, 10_000), Some(275));
}

#[test]
fn a_turn_comes_after_the_time_that_a_receiver_asked_for() {
    let mut queues = Queues::new(limits(10));
    queues
        .offer_backlog(&id("a"), FREE, 0, 0)
        .expect("an empty queue");
    let started = drain(&mut queues, 0);
    let effect = Effect::Throttled { hold_until: 5000 };
    let token = started.first().expect("it started").token;
    queues.finish(&id("a"), token, effect, 1);
    let turn = |queues: &mut Queues<u32>, now| queues.backlog_turn(&id("a"), now, 60_000);
    // One a second, which is what is left of its rate.
    assert_eq!(turn(&mut queues, 10), Some(5990));
    assert_eq!(turn(&mut queues, 20), Some(6980));
}

#[test]
fn a_destination_that_does_not_move_gives_no_turns() {
    let mut queues = full(FREE);
    assert_eq!(
        queues.backlog_turn(&id("a"), 300, 10_000),
        None,
        "both attempts should have ended long ago"
    );
    let mut queues = full(FREE);
    let disabled = Allowance {
        enabled: false,
        version: 1,
        ..FREE
    };
    queues.update(&id("a"), disabled);
    assert_eq!(queues.backlog_turn(&id("a"), 0, 10_000), None);
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
