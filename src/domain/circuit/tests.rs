use proptest::prelude::*;

use super::*;

const S: i64 = 1_000;

fn few(failed: u64) -> Count {
    Count {
        succeeded: 0,
        failed,
    }
}

/// A circuit and what happens to it.
struct Scene {
    circuit: Circuit,
    policy: Policy,
    archive_empty: bool,
    recent: Count,
}

impl Scene {
    fn new() -> Self {
        Self {
            circuit: Circuit::default(),
            policy: Policy::default(),
            archive_empty: false,
            recent: few(1),
        }
    }

    fn attempt(&mut self, outcome: Outcome, at_ms: i64) -> Option<(State, Reason)> {
        let epoch = self.circuit.epoch();
        self.circuit
            .attempt(
                &self.policy,
                epoch,
                outcome,
                at_ms,
                self.recent,
                self.archive_empty,
            )
            .map(|transition| (transition.to, transition.reason))
    }

    fn tripped() -> Self {
        let mut scene = Self::new();
        for second in 0..10 {
            assert_eq!(scene.attempt(Outcome::Server, second * S), None);
        }
        let opened = scene.attempt(Outcome::Server, 10 * S);
        assert_eq!(opened, Some((State::Open, Reason::Consecutive)));
        scene
    }

    fn half_open() -> Self {
        let mut scene = Self::tripped();
        let now_ms = scene.circuit.next_tick_ms().expect("open");
        let half = scene.circuit.tick(now_ms).expect("time is over");
        assert_eq!(half.to, State::HalfOpen);
        scene
    }

    fn draining() -> Self {
        let mut scene = Self::half_open();
        for _probe in 1..PROBES {
            assert_eq!(scene.attempt(Outcome::Delivered, 50 * S), None);
        }
        let draining = scene.attempt(Outcome::Delivered, 50 * S);
        assert_eq!(draining, Some((State::Draining, Reason::ProbesSucceeded)));
        scene
    }
}

#[test]
fn each_outcome_has_its_sign() {
    for (outcome, expected) in [
        (Outcome::Delivered, Sign::Works),
        (Outcome::Redirect, Sign::Works),
        (Outcome::Gone, Sign::Works),
        (Outcome::Auth, Sign::Fails),
        (Outcome::NotFound, Sign::Fails),
        (Outcome::Rejected, Sign::Works),
        (Outcome::Throttled, Sign::Waits),
        (Outcome::Server, Sign::Fails),
        (Outcome::Network, Sign::Fails),
        (Outcome::Refused, Sign::Nothing),
        (Outcome::Internal, Sign::Nothing),
    ] {
        assert_eq!(sign(outcome), expected, "{outcome:?}");
    }
}

#[test]
fn ten_failures_within_a_moment_are_too_short_a_time() {
    let mut scene = Scene::new();
    for _attempt in 0..50 {
        assert_eq!(scene.attempt(Outcome::Network, 9 * S), None);
    }
    assert_eq!(
        scene.attempt(Outcome::Network, 19 * S),
        Some((State::Open, Reason::Consecutive))
    );
}

#[test]
fn a_success_begins_the_row_anew_and_throttling_does_not() {
    let mut scene = Scene::new();
    for second in 0..9 {
        scene.attempt(Outcome::Server, second * S);
    }
    scene.attempt(Outcome::Throttled, 10 * S);
    let mut other = Scene {
        circuit: scene.circuit,
        ..Scene::new()
    };
    assert_eq!(
        scene.attempt(Outcome::Server, 11 * S),
        Some((State::Open, Reason::Consecutive))
    );
    other.attempt(Outcome::Delivered, 10 * S);
    assert_eq!(other.attempt(Outcome::Server, 11 * S), None);
}

#[test]
fn a_share_of_failures_opens_it_and_throttling_never_does() {
    let mut scene = Scene::new();
    scene.recent = Count {
        succeeded: 10,
        failed: 10,
    };
    assert_eq!(scene.attempt(Outcome::Throttled, S), None);
    assert_eq!(scene.attempt(Outcome::Delivered, S), None);
    assert_eq!(
        scene.attempt(Outcome::Server, S),
        Some((State::Open, Reason::Ratio))
    );
}

#[test]
fn one_that_is_turned_off_never_opens_by_itself_but_a_monitor_opens_it() {
    let mut scene = Scene::new();
    scene.policy.enabled = false;
    scene.recent = few(1_000);
    for second in 0..1_000 {
        assert_eq!(scene.attempt(Outcome::Server, second * S), None);
    }
    let down = scene.circuit.monitor_down(&scene.policy, 1_000 * S);
    assert_eq!(down.expect("opens").reason, Reason::MonitorDown);
}

#[test]
fn it_is_open_for_thirty_seconds_and_then_probes() {
    let mut scene = Scene::tripped();
    assert_eq!(scene.circuit.tick(40 * S - 1), None);
    let half = scene.circuit.tick(40 * S).expect("time is over");
    assert_eq!(
        (half.from, half.to, half.reason, half.epoch),
        (State::Open, State::HalfOpen, Reason::TimeOver, 2)
    );
}

#[test]
fn each_failed_recovery_doubles_the_time_up_to_its_bound() {
    let mut scene = Scene::tripped();
    for seconds in [30, 60, 120, 240, 480, 900, 900] {
        let until = scene.circuit.next_tick_ms().expect("open");
        assert_eq!(until - scene.circuit.now_ms, seconds * S);
        scene.circuit.tick(until);
        let failed = scene.attempt(Outcome::Network, until);
        assert_eq!(failed, Some((State::Open, Reason::ProbeFailed)));
    }
    assert_eq!(scene.circuit.open_since_ms(), Some(10 * S));
}

#[test]
fn the_time_starts_small_again_after_it_was_closed() {
    let mut scene = Scene::draining();
    assert_eq!(
        scene.circuit.drained(60 * S).expect("closes").to,
        State::Closed
    );
    assert_eq!(scene.circuit.open_since_ms(), None);
    scene.recent = few(20);
    scene.attempt(Outcome::Server, 70 * S);
    assert_eq!(scene.circuit.next_tick_ms(), Some(100 * S));
}

#[test]
fn one_success_is_enough_where_nothing_waits() {
    let mut scene = Scene::half_open();
    scene.archive_empty = true;
    assert_eq!(
        scene.attempt(Outcome::Rejected, 50 * S),
        Some((State::Draining, Reason::ProbesSucceeded))
    );
}

#[test]
fn a_probe_that_is_throttled_neither_fails_nor_succeeds() {
    let mut scene = Scene::half_open();
    scene.archive_empty = true;
    for outcome in [Outcome::Throttled, Outcome::Refused, Outcome::Internal] {
        assert_eq!(scene.attempt(outcome, 50 * S), None);
    }
    assert_eq!(scene.circuit.state(), State::HalfOpen);
}

#[test]
fn half_of_ten_that_fail_in_a_replay_open_it_again() {
    let mut scene = Scene::draining();
    for _attempt in 0..5 {
        assert_eq!(scene.attempt(Outcome::Delivered, 60 * S), None);
    }
    for _attempt in 0..4 {
        assert_eq!(scene.attempt(Outcome::Server, 60 * S), None);
    }
    assert_eq!(
        scene.attempt(Outcome::Server, 60 * S),
        Some((State::Open, Reason::DrainFailed))
    );
    assert_eq!(scene.circuit.next_tick_ms(), Some(120 * S));
}

#[test]
fn a_monitor_that_says_down_holds_it_open_until_it_says_up() {
    let mut scene = Scene::tripped();
    assert_eq!(scene.circuit.monitor_down(&scene.policy, 11 * S), None);
    assert_eq!(scene.circuit.tick(100_000 * S), None);
    let up = scene.circuit.monitor_up(100_001 * S).expect("probes");
    assert_eq!((up.to, up.reason), (State::HalfOpen, Reason::MonitorUp));
    assert_eq!(scene.circuit.monitor_up(100_002 * S), None);
}

#[test]
fn what_is_asked_of_a_closed_circuit_changes_nothing() {
    let mut circuit = Circuit::default();
    assert_eq!(circuit.probe(S), None);
    assert_eq!(circuit.monitor_up(S), None);
    assert_eq!(circuit.drained(S), None);
    assert_eq!(circuit.turn_off(S), None);
    assert_eq!(circuit.tick(S), None);
    assert_eq!(circuit.epoch(), 0);
}

#[test]
fn turned_off_while_open_its_archive_is_replayed() {
    let mut scene = Scene::tripped();
    let off = scene.circuit.turn_off(20 * S).expect("drains");
    assert_eq!((off.to, off.reason), (State::Draining, Reason::TurnedOff));
}

#[test]
fn an_attempt_of_an_older_epoch_is_not_counted() {
    let mut scene = Scene::half_open();
    let old = scene.circuit.epoch() - 1;
    let policy = scene.policy;
    for outcome in Outcome::ALL {
        let late = scene
            .circuit
            .attempt(&policy, old, outcome, 50 * S, few(100), true);
        assert_eq!(late, None, "{outcome:?}");
    }
    assert_eq!(scene.circuit.state(), State::HalfOpen);
}

/// What may happen to a circuit.
#[derive(Debug, Clone)]
enum Step {
    Attempt { outcome: usize, epoch_back: u64 },
    Tick,
    MonitorDown,
    MonitorUp,
    Probe,
    Drained,
    TurnOff,
}

fn steps() -> impl Strategy<Value = Vec<(Step, i64)>> {
    let step = prop_oneof![
        8 => (0..Outcome::ALL.len(), prop_oneof![3 => Just(0_u64), 1 => 0_u64..3])
            .prop_map(|(outcome, epoch_back)| Step::Attempt { outcome, epoch_back }),
        3 => Just(Step::Tick),
        1 => Just(Step::MonitorDown),
        1 => Just(Step::MonitorUp),
        1 => Just(Step::Probe),
        2 => Just(Step::Drained),
        1 => Just(Step::TurnOff),
    ];
    prop::collection::vec((step, -5_000_i64..120_000), 0..400)
}

fn apply(circuit: &mut Circuit, policy: &Policy, step: &Step, now_ms: i64) -> Option<Transition> {
    match *step {
        Step::Attempt {
            outcome,
            epoch_back,
        } => {
            let outcome = *Outcome::ALL.get(outcome).expect("within");
            let epoch = circuit.epoch().saturating_sub(epoch_back);
            circuit.attempt(policy, epoch, outcome, now_ms, few(0), false)
        }
        Step::Tick => circuit.tick(now_ms),
        Step::MonitorDown => circuit.monitor_down(policy, now_ms),
        Step::MonitorUp => circuit.monitor_up(now_ms),
        Step::Probe => circuit.probe(now_ms),
        Step::Drained => circuit.drained(now_ms),
        Step::TurnOff => circuit.turn_off(now_ms),
    }
}

proptest! {
    #[test]
    fn only_drawn_transitions_happen_epochs_grow_by_one_and_time_goes_forward(steps in steps()) {
        let allowed = [
            (State::Closed, State::Open),
            (State::Open, State::HalfOpen),
            (State::HalfOpen, State::Open),
            (State::HalfOpen, State::Draining),
            (State::Draining, State::Open),
            (State::Draining, State::Closed),
            // Turned off while it is open.
            (State::Open, State::Draining),
        ];
        let policy = Policy::default();
        let mut circuit = Circuit::default();
        let (mut now_ms, mut last_ms) = (0, i64::MIN);
        for (step, time) in steps {
            now_ms += time;
            let before = circuit;
            match apply(&mut circuit, &policy, &step, now_ms) {
                Some(transition) => {
                    prop_assert!(allowed.contains(&(transition.from, transition.to)), "{transition:?}");
                    prop_assert_eq!(transition.from, before.state());
                    prop_assert_eq!(transition.to, circuit.state());
                    prop_assert_eq!(transition.epoch, before.epoch() + 1);
                    prop_assert!(transition.at_ms >= last_ms);
                    last_ms = transition.at_ms;
                }
                None => {
                    prop_assert_eq!(circuit.state(), before.state());
                    prop_assert_eq!(circuit.epoch(), before.epoch());
                }
            }
        }
    }

    #[test]
    fn from_anywhere_it_closes_once_the_destination_works(steps in steps()) {
        let policy = Policy::default();
        let mut circuit = Circuit::default();
        let mut now_ms = 0;
        for (step, time) in steps {
            now_ms += time;
            apply(&mut circuit, &policy, &step, now_ms);
        }
        circuit.monitor_up(now_ms);
        if let Some(until_ms) = circuit.next_tick_ms() {
            now_ms = until_ms;
            circuit.tick(now_ms);
        }
        for _probe in 0..PROBES {
            let epoch = circuit.epoch();
            circuit.attempt(&policy, epoch, Outcome::Delivered, now_ms, few(0), false);
        }
        circuit.drained(now_ms);
        prop_assert_eq!(circuit.state(), State::Closed);
    }

    #[test]
    fn an_open_circuit_is_moved_by_no_attempt(steps in steps(), outcome in 0..Outcome::ALL.len()) {
        let policy = Policy::default();
        let mut circuit = Circuit::default();
        let mut now_ms = 0;
        for (step, time) in steps {
            now_ms += time;
            apply(&mut circuit, &policy, &step, now_ms);
        }
        circuit.monitor_down(&policy, now_ms);
        let outcome = *Outcome::ALL.get(outcome).expect("within");
        let epoch = circuit.epoch();
        let moved = circuit.attempt(&policy, epoch, outcome, now_ms, few(1_000), true);
        prop_assert_eq!(moved, None);
        prop_assert_eq!(circuit.state(), State::Open);
    }
}
