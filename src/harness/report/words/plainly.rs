//! What a metric measures, for a reader who has never seen its path.

use crate::harness::report::text::{self, MAX_SHOWN_CHARS};
use crate::harness::scenario::catalogue::{
    self, LatencyStat, LoadMetric, MetricKey, ProcessMetric, RequestMetric,
};

/// `the p95 latency of reads` for `load.reads.p95`: the beginning of a clause. A path that says nothing
/// by itself, such as an imported one, stays as it is.
pub(super) fn plainly(path: &str) -> String {
    let shown = |name: &str| text::shown(name, MAX_SHOWN_CHARS);
    match catalogue::of_path(path) {
        Some(MetricKey::Load { load, what }) => format!("the {} of {load}", of_load(what)),
        Some(MetricKey::Request {
            load,
            request,
            what,
        }) => format!("the {} of {} in {load}", of_request(what), shown(&request)),
        Some(MetricKey::Group { load, group, stat }) => {
            format!("the {} time of {} in {load}", in_words(stat), shown(&group))
        }
        Some(MetricKey::Process { process, what }) => {
            format!("the {} of {process}", of_process(what))
        }
        Some(MetricKey::Probe(probe)) => format!("the probe {}", shown(&probe)),
        Some(MetricKey::Bench(id)) => format!("the benchmark {}", shown(&id)),
        None => shown(path),
    }
}

/// Whether [`plainly`] has words for a path.
pub(super) fn has_words(path: &str) -> bool {
    catalogue::of_path(path).is_some()
}

fn of_load(what: LoadMetric) -> String {
    match what {
        LoadMetric::Response(stat) => format!("{} latency", in_words(stat)),
        LoadMetric::Service(stat) => format!("{} service time", in_words(stat)),
        LoadMetric::Iteration(stat) => format!("{} iteration time", in_words(stat)),
        LoadMetric::FirstByte(stat) => format!("{} time to first byte", in_words(stat)),
        LoadMetric::Dns(stat) => format!("{} name resolution time", in_words(stat)),
        LoadMetric::Connect(stat) => format!("{} connect time", in_words(stat)),
        LoadMetric::Tls(stat) => format!("{} TLS handshake time", in_words(stat)),
        LoadMetric::Capacity => "capacity".to_owned(),
        LoadMetric::CapacityShare => "capacity share".to_owned(),
        LoadMetric::Rate => "request rate".to_owned(),
        LoadMetric::Achieved => "achieved share".to_owned(),
        LoadMetric::ErrorRate => "error rate".to_owned(),
        LoadMetric::Lost => "lost share of time".to_owned(),
        LoadMetric::Dropped => "number of dropped arrivals".to_owned(),
        LoadMetric::BytesRate => "rate of received bytes".to_owned(),
    }
}

fn of_request(what: RequestMetric) -> String {
    let as_of_a_load = match what {
        RequestMetric::Response(stat) => LoadMetric::Response(stat),
        RequestMetric::Service(stat) => LoadMetric::Service(stat),
        RequestMetric::Rate => LoadMetric::Rate,
        RequestMetric::ErrorRate => LoadMetric::ErrorRate,
    };
    of_load(as_of_a_load)
}

fn of_process(what: ProcessMetric) -> &'static str {
    match what {
        ProcessMetric::CpuMean => "mean CPU use",
        ProcessMetric::RssMax => "peak memory",
        ProcessMetric::RssMean => "mean memory",
        ProcessMetric::ThreadsMax => "peak number of threads",
        ProcessMetric::FdsMax => "peak number of open files",
    }
}

fn in_words(stat: LatencyStat) -> String {
    match stat {
        LatencyStat::Quantile(quantile) => quantile.in_words(),
        LatencyStat::Mean => "mean".to_owned(),
        LatencyStat::Max => "highest".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_what_it_measures() {
        let check = |path: &str, expected: &str| assert_eq!(plainly(path), expected);
        check("load.reads.p95", "the p95 latency of reads");
        check("load.reads.p999", "the p99.9 latency of reads");
        check(
            "load.reads.tls.max",
            "the highest TLS handshake time of reads",
        );
        check("load.reads.error_rate", "the error rate of reads");
        check(
            "load.reads.request.GET /a.json.p95",
            "the p95 latency of GET /a.json in reads",
        );
        check(
            "load.reads.group.check out.mean",
            "the mean time of check out in reads",
        );
        check("process.service.rss_max", "the peak memory of service");
        check("probe.hits", "the probe hits");
        check("bench.cache/get", "the benchmark cache/get");
        check("http_req_duration.p95", "http_req_duration.p95");
        check("bench.a\u{1b}[2Jb", "the benchmark ab");
    }
}
