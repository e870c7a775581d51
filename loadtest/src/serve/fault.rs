//! Schedule of faults: a closed form of the numbers of the connection and the message.
//!
//! So a test can compute the number of faults of each kind, and two runs with the same seed are
//! equal.
//!
//! **Absent on purpose**: sockets. `lossy` injects the faults.

use std::str::FromStr;

use crate::base::random::mix;

/// Kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Fault {
    /// No reply; the connection stays open.
    Drop,
    /// A reset (RST) in place of the reply.
    Reset,
    /// The end of the stream in place of the reply. The server still reads from the peer.
    HalfClose,
    /// The first half of the reply, then the end of the stream.
    Short,
    /// A wrong last byte of the reply.
    Corrupt,
    /// One additional byte after the reply.
    Extra,
    /// The reply follows the reply to the next message. The peer must send that message without
    /// waiting.
    Reorder,
    /// The last message of another connection of the same thread in place of the reply.
    CrossTalk,
}

impl Fault {
    pub(super) const COUNT: usize = 8;

    pub(super) const ALL: [Fault; Fault::COUNT] = [
        Fault::Drop,
        Fault::Reset,
        Fault::HalfClose,
        Fault::Short,
        Fault::Corrupt,
        Fault::Extra,
        Fault::Reorder,
        Fault::CrossTalk,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Fault::Drop => "drop",
            Fault::Reset => "reset",
            Fault::HalfClose => "half-close",
            Fault::Short => "short",
            Fault::Corrupt => "corrupt",
            Fault::Extra => "extra",
            Fault::Reorder => "reorder",
            Fault::CrossTalk => "cross-talk",
        }
    }
}

/// A fault and its period: `KIND:EVERY` on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) fault: Fault,
    /// Period of the fault, in messages of a connection.
    pub(crate) every: u64,
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Rule, String> {
        let form = || "use KIND:EVERY, as in reset:100".to_owned();
        let (name, every) = text.split_once(':').ok_or_else(form)?;
        let known = Fault::ALL.into_iter().find(|fault| fault.name() == name);
        let fault = known.ok_or_else(|| {
            let names: Vec<_> = Fault::ALL.into_iter().map(Fault::name).collect();
            format!("'{name}' is not a fault: use one of {}", names.join(", "))
        })?;
        let every = crate::base::units::count(every)?.into();
        Ok(Rule { fault, every })
    }
}

/// The faults of one connection.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Each rule with its offset in messages.
    rules: Vec<(Rule, u64)>,
    /// Number of messages so far.
    number: u64,
}

impl Schedule {
    /// With seed 0, a rule applies to messages `every`, `2 * every`, … of each connection. Another
    /// seed shifts each rule of each connection by a different offset, so that the faults are not
    /// synchronous.
    pub(super) fn new(rules: &[Rule], seed: u64, connection: u64) -> Schedule {
        let ahead = |index: usize, every: u64| match seed {
            0 => 0,
            seed => mix(mix(mix(seed) ^ connection) ^ index as u64) % every,
        };
        let rules = rules.iter().enumerate();
        let rules = rules.map(|(index, rule)| (*rule, ahead(index, rule.every))).collect();
        Schedule { rules, number: 0 }
    }

    /// The fault of the next message. If several rules apply, the first one wins.
    pub(super) fn next(&mut self) -> Option<Fault> {
        self.number += 1;
        let strikes =
            |(rule, ahead): &&(Rule, u64)| (self.number + ahead).is_multiple_of(rule.every);
        self.rules.iter().find(strikes).map(|(rule, _)| rule.fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(rules: &[Rule], seed: u64, connection: u64, count: usize) -> Vec<(u64, Fault)> {
        let mut schedule = Schedule::new(rules, seed, connection);
        let all = (0..count).map(|_| (schedule.next(), schedule.number));
        all.filter_map(|(fault, number)| Some((number, fault?))).collect()
    }

    /// Goal: with seed 0 faults are at the multiples of `EVERY`, and the first of two rules wins if
    /// both apply.
    ///
    /// Method: two rules over twelve messages.
    ///
    /// Kills: counting from 0; both faults on one message; a second rule that stops after a
    /// collision.
    #[test]
    fn faults_are_at_multiples_of_their_period() {
        let rules: Vec<Rule> = ["drop:3", "corrupt:4"].map(|text| text.parse().unwrap()).into();
        let (drop, corrupt) = (Fault::Drop, Fault::Corrupt);
        let expected = [(3, drop), (4, corrupt), (6, drop), (8, corrupt), (9, drop), (12, drop)];
        assert_eq!(strikes(&rules, 0, 5, 12), expected);
    }

    /// Goal: a seed shifts the faults of each connection differently, without changing their
    /// number; the same seed gives the same faults.
    ///
    /// Method: one rule, 1 000 messages, 50 connections, each schedule built twice.
    ///
    /// Kills: synchronous connections; a state shared by connections; unseeded randomness.
    #[test]
    fn a_seed_shifts_the_faults() {
        let rules = ["reset:100".parse().unwrap()];
        let of = |connection| strikes(&rules, 7, connection, 1_000);
        let mut firsts: Vec<u64> = (0..50).map(|connection| of(connection)[0].0).collect();
        for connection in 0..50 {
            assert_eq!(of(connection), of(connection));
            assert_eq!(of(connection).len(), 10);
        }
        firsts.sort_unstable();
        firsts.dedup();
        assert!(firsts.len() > 25, "{firsts:?}");
    }

    /// Goal: the command line accepts the name of each fault and nothing else.
    ///
    /// Method: parse the name of each fault; a table of mistakes.
    ///
    /// Kills: a fault that is missing in the list; two that share a counter.
    #[test]
    fn names_of_faults_are_accepted() {
        for (place, fault) in Fault::ALL.into_iter().enumerate() {
            let rule: Rule = format!("{}:10k", fault.name()).parse().unwrap();
            assert_eq!(rule, Rule { fault, every: 10_000 });
            assert_eq!(fault as usize, place);
        }
        for bad in ["", "drop", "drop:", "drop:0", "drop:x", "lose:5", "drop:1:2"] {
            assert!(bad.parse::<Rule>().is_err(), "{bad} was accepted");
        }
    }
}
