//! One benchmark of each sampling mode, and names that are awkward as folders.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};

#[cfg(feature = "broken")]
compile_error!("the feature `broken` is on");

fn sums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sum");
    group.sampling_mode(SamplingMode::Linear);
    group.bench_function("linear", |bencher| bencher.iter(|| (0..100_u64).map(black_box).sum::<u64>()));
    group.sampling_mode(SamplingMode::Flat);
    group.bench_with_input(BenchmarkId::new("flat", 1000), &1000_u64, |bencher, n| {
        bencher.iter(|| (0..*n).map(black_box).sum::<u64>())
    });
    group.finish();
    let mut group = criterion.benchmark_group("new");
    group.bench_function("new", |bencher| bencher.iter(|| black_box(1) + 1));
    group.bench_function("<b>a/b?</b>", |bencher| bencher.iter(|| black_box(1) + 1));
    group.finish();
}

criterion_group! {
    name = tiny;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(20))
        .measurement_time(Duration::from_millis(50))
        .sample_size(10)
        .nresamples(2000)
        .without_plots();
    targets = sums
}
criterion_main!(tiny);
