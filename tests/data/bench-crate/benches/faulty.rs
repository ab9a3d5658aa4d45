//! Benchmarks that do not end well; a filter chooses one.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

fn faults(criterion: &mut Criterion) {
    criterion.bench_function("faulty/panics", |_| panic!("this benchmark panics"));
    criterion.bench_function("faulty/sleeps", |bencher| {
        bencher.iter(|| std::thread::sleep(Duration::from_secs(600)));
    });
}

criterion_group!(faulty, faults);
criterion_main!(faulty);
