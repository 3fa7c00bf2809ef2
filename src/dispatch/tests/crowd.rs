//! How slots are shared while some destinations hang.

use super::*;

/// Offers so many fresh deliveries, starts what may start and returns it.
fn offer_many(queues: &mut Queues<u32>, name: &str, count: u32, now: Millis) -> Vec<Start<u32>> {
    let wide = Allowance {
        concurrency: 8,
        ..FREE
    };
    let mut started = Vec::new();
    for work in 0..count {
        // What finds a full queue is handed over, and no matter here.
        queues
            .offer_fresh(&id(name), wide, work, 1, false, now)
            .ok();
        started.extend(drain(queues, now));
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
        queues.crowd.slow_in_flight(),
        1,
        "one that has not ended yet counts too"
    );
}

#[test]
fn who_waits_is_not_forgotten_where_those_before_it_had_nothing_to_start() {
    let mut queues = Queues::new(limits(4));
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut now = 0;
    let mut started = Vec::new();
    // All are known to be slow: two have an attempt in flight, and the others wait.
    for _ in 0..4 {
        for name in names {
            started.extend(offer_many(&mut queues, name, 2, now));
        }
        now += 5000;
        if queues.crowd.slow_in_flight() < 2 || started.len() > 2 {
            for start in started.drain(..) {
                queues.finish(&start.destination, start.token, Effect::None, now);
            }
            started.extend(drain(&mut queues, now));
        }
    }
    assert_eq!((started.len(), queues.crowd.slow_in_flight()), (2, 2));
    let waiting: Vec<&str> = names
        .into_iter()
        .filter(|name| started.iter().all(|start| start.destination != id(name)))
        .collect();
    let (last, first) = waiting.split_last().expect("four wait");
    // What all but one hold is handed over, and nothing else is in flight: only the sweep is left.
    for name in first {
        queues.take_all(&id(name));
    }
    queues.take_all(&id(last));
    assert!(offer_many(&mut queues, last, 1, now).is_empty());
    for start in started.drain(..) {
        queues.take_all(&start.destination);
        queues.finish(&start.destination, start.token, Effect::None, now);
    }
    started.extend(drain(&mut queues, now));
    for _ in 0..3 {
        queues.sweep(now);
        started.extend(drain(&mut queues, now));
    }
    assert!(
        started.iter().any(|start| start.destination == id(last)),
        "{last} starts"
    );
}
