//! Which fault strikes which message: a closed form of the connection's and the message's number.
//!
//! So a test can say beforehand how many faults of each kind there will be, and two runs with the
//! same seed are the same. **Absent on purpose**: sockets. What a fault does is `lossy`'s matter.

use std::str::FromStr;

use crate::base::random::mix;

/// A way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Fault {
    /// No reply; the connection goes on.
    Drop,
    /// A reset (RST) in place of the reply.
    Reset,
    /// The end of the stream in place of the reply; what the peer sends is still read.
    HalfClose,
    /// The first half of the reply, then the end of the stream.
    Short,
    /// The last byte of the reply is another one.
    Corrupt,
    /// One byte too many after the reply.
    Extra,
    /// The reply comes after that to the next message. It needs a peer that does not wait for it.
    Reorder,
    /// The last message of another connection of the same thread, in place of this one's.
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

/// A fault and how often it comes: `KIND:EVERY` on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) fault: Fault,
    /// It strikes every so many messages of a connection.
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
            format!("there is no fault '{name}', only {}", names.join(", "))
        })?;
        let every = crate::base::units::count(every)?.into();
        Ok(Rule { fault, every })
    }
}

/// The faults of one connection.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Each rule, and by how many messages it is ahead.
    rules: Vec<(Rule, u64)>,
    /// Messages so far.
    number: u64,
}

impl Schedule {
    /// With seed 0, a rule strikes messages `every`, `2 * every`, … of each connection. Another
    /// seed moves each rule of each connection by an amount of its own, so that they do not
    /// strike in step.
    pub(super) fn new(rules: &[Rule], seed: u64, connection: u64) -> Schedule {
        let ahead = |index: usize, every: u64| match seed {
            0 => 0,
            seed => mix(mix(mix(seed) ^ connection) ^ index as u64) % every,
        };
        let rules = rules.iter().enumerate();
        let rules = rules.map(|(index, rule)| (*rule, ahead(index, rule.every))).collect();
        Schedule { rules, number: 0 }
    }

    /// What strikes the next message. Where several rules meet, the first one named wins.
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

    /// Goal: with seed 0 the numbers are those that the command line says, and the first of two
    /// rules wins where they meet.
    ///
    /// Method: two rules over twelve messages.
    ///
    /// Kills: counting from 0; both faults on one message; the second rule's turn lost for good.
    #[test]
    fn rules_strike_where_they_say() {
        let rules: Vec<Rule> = ["drop:3", "corrupt:4"].map(|text| text.parse().unwrap()).into();
        let (drop, corrupt) = (Fault::Drop, Fault::Corrupt);
        let wanted = [(3, drop), (4, corrupt), (6, drop), (8, corrupt), (9, drop), (12, drop)];
        assert_eq!(strikes(&rules, 0, 5, 12), wanted);
    }

    /// Goal: a seed moves the strikes, differently for each connection, without changing how many
    /// there are, and the same seed gives the same strikes.
    ///
    /// Method: one rule, 1 000 messages, 50 connections, each schedule made twice.
    ///
    /// Kills: all connections in step; a state shared by connections; randomness from elsewhere.
    #[test]
    fn a_seed_moves_them() {
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

    /// Goal: each fault has a name that the command line takes, and nothing else is taken.
    ///
    /// Method: there and back for all; a table of mistakes.
    ///
    /// Kills: a fault that is missing from the list; two that share a place in the counters.
    #[test]
    fn names() {
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
