//! The spread between sessions: what a machine, a day or a reboot adds to every run of a session.
//!
//! One-way random effects by the method of moments: Searle, Casella and McCulloch, "Variance
//! Components" (1992), section 3.6 (unbalanced data).

use super::order::{mean, sum_of_squares, variance};

/// Fewer sessions than this say nothing about the spread between sessions.
pub const SESSIONS_NEEDED: usize = 3;

/// τ and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Between {
    /// The between-session standard deviation, on the scale of the values.
    pub tau: f64,
    /// Number of sessions that it was estimated from.
    pub sessions: usize,
}

/// τ from the values of at least three sessions, each of any length:
///
/// τ² = max(0, (MSB − MSW)/n₀), n₀ = (N − Σnᵢ²/N)/(k − 1).
///
/// Where every session holds one run only, between and within cannot be told apart; τ² is then the
/// whole variance, which errs to the careful side. Empty sessions don't count.
pub fn between_sessions(sessions: &[Vec<f64>]) -> Option<Between> {
    let sessions: Vec<&Vec<f64>> = sessions.iter().filter(|s| !s.is_empty()).collect();
    let k = sessions.len();
    if k < SESSIONS_NEEDED {
        return None;
    }
    let total: usize = sessions.iter().map(|s| s.len()).sum();
    if total == k {
        let all: Vec<f64> = sessions.into_iter().flatten().copied().collect();
        return Some(Between {
            tau: variance(&all)?.sqrt(),
            sessions: k,
        });
    }
    let n = total as f64;
    let grand = sessions.iter().map(|s| s.iter().sum::<f64>()).sum::<f64>() / n;
    let ssb: f64 = sessions
        .iter()
        .filter_map(|s| Some(s.len() as f64 * (mean(s)? - grand).powi(2)))
        .sum();
    let msb = ssb / (k - 1) as f64;
    let msw = within_variance(&sessions)?;
    let squares: f64 = sessions.iter().map(|s| (s.len() as f64).powi(2)).sum();
    let n0 = (n - squares / n) / (k - 1) as f64;
    Some(Between {
        tau: ((msb - msw) / n0).max(0.0).sqrt(),
        sessions: k,
    })
}

/// The variance within sessions, pooled: MSW = Σ SSᵢ/(N − k), where SSᵢ is about the session's own mean.
/// `None` where no session holds two values. Empty sessions don't count.
pub fn within_variance<S: AsRef<[f64]>>(sessions: &[S]) -> Option<f64> {
    let (mut ss, mut df) = (0.0, 0);
    for session in sessions {
        let session = session.as_ref();
        ss += sum_of_squares(session);
        df += session.len().saturating_sub(1);
    }
    (df > 0).then(|| ss / df as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_sessions_say_nothing() {
        assert_eq!(between_sessions(&[]), None);
        assert_eq!(
            between_sessions(&[vec![1.0, 2.0], vec![3.0, 2.0], vec![]]),
            None
        );
    }

    #[test]
    fn one_run_a_session_is_all_between() {
        let sessions = [vec![1.0], vec![2.0], vec![3.0]];
        assert_eq!(
            between_sessions(&sessions),
            Some(Between {
                tau: 1.0,
                sessions: 3
            })
        );
    }

    /// 1, 3 and 10, 12, 14 and 7: squares of 2 and of 8 about their own means, on 1 + 2 degrees of freedom.
    #[test]
    fn within_is_about_each_session_s_own_mean() {
        let sessions = [vec![1.0, 3.0], vec![10.0, 12.0, 14.0], vec![7.0], vec![]];
        assert_eq!(within_variance(&sessions), Some(10.0 / 3.0));
        assert_eq!(within_variance(&[vec![1.0], vec![2.0]]), None);
    }

    #[test]
    fn equal_sessions_have_no_spread_between() {
        let sessions = vec![vec![1.0, 2.0, 3.0]; 4];
        assert_eq!(
            between_sessions(&sessions),
            Some(Between {
                tau: 0.0,
                sessions: 4
            })
        );
    }
}
