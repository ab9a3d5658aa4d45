//! The seeded generator: (seed, table, index) → row.

use jiff::ToSpan;
use jiff::civil::{Date, date};

use crate::datalayer::batch::{Row, Table};

use super::draw::{Draw, Weighted};
use super::schema::{APPOINTMENTS, CLIENTS, PAYMENTS, RECORDS, TABLES};
use super::words;

/// The last day on which something has happened; what lies after it is scheduled.
const TODAY: Date = date(2025, 9, 30);

/// How many rows each table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Between 5 and 50.
    pub tenants: u64,
    /// One for ten records, at least 100.
    pub clients: u64,
    /// Three a client.
    pub appointments: u64,
    /// Two a client.
    pub payments: u64,
    /// What was asked for.
    pub records: u64,
}

/// Makes the rows of one dataset. Every row depends on the seed, its table and its index alone
/// (and on the number of clients, among whom it chooses), never on what was made before it.
#[derive(Debug)]
pub struct Generator {
    seed: u64,
    shape: Shape,
    tenants: Weighted<i64>,
    given_names: Weighted<&'static str>,
    family_names: Weighted<&'static str>,
    cities: Weighted<&'static str>,
    client_statuses: Weighted<&'static str>,
    mail_hosts: Weighted<&'static str>,
    appointment_statuses: Weighted<&'static str>,
    durations: Weighted<i64>,
    methods: Weighted<&'static str>,
    codes: Weighted<&'static str>,
    stages: Weighted<&'static str>,
}

impl Shape {
    /// The shape that goes with a number of records.
    pub fn of(records: u64) -> Self {
        let clients = (records / 10).max(100);
        Self {
            tenants: (clients / 100).clamp(5, 50),
            clients,
            appointments: clients * 3,
            payments: clients * 2,
            records,
        }
    }

    /// The rows of `table`; none for a table that is not generated.
    pub fn rows(&self, table: &Table) -> u64 {
        match table.name {
            "tenants" => self.tenants,
            "clients" => self.clients,
            "appointments" => self.appointments,
            "payments" => self.payments,
            "records" => self.records,
            _ => 0,
        }
    }
}

impl Generator {
    /// A generator for the dataset that (`seed`, `records`) names.
    pub fn new(seed: u64, records: u64) -> Self {
        let shape = Shape::of(records);
        Self {
            seed,
            shape,
            tenants: Weighted::zipf((1..).take(shape.tenants as usize)),
            given_names: Weighted::zipf(words::GIVEN_NAMES.iter().copied()),
            family_names: Weighted::zipf(words::FAMILY_NAMES.iter().copied()),
            cities: Weighted::new(words::CITIES.iter().copied()),
            client_statuses: Weighted::new(words::CLIENT_STATUSES.iter().copied()),
            mail_hosts: Weighted::new(words::MAIL_HOSTS.iter().copied()),
            appointment_statuses: Weighted::new(words::APPOINTMENT_STATUSES.iter().copied()),
            durations: Weighted::new(words::DURATIONS.iter().copied()),
            methods: Weighted::new(words::PAYMENT_METHODS.iter().copied()),
            codes: Weighted::new(words::CODES.iter().copied()),
            stages: Weighted::new(words::STAGES.iter().copied()),
        }
    }

    /// How many rows each table gets.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// All rows of `table` in the order of their ids, which start at 1.
    pub fn rows(&self, table: &'static Table) -> impl Iterator<Item = Row> + Send + '_ {
        (0..self.shape.rows(table)).map(move |index| {
            let mut row = Vec::with_capacity(table.columns.len());
            row.push((index as i64 + 1).into());
            row.extend(match table.name {
                "tenants" => vec![format!("Tenant {:02}", index + 1).into()],
                "clients" => self.client(index),
                "appointments" => self.appointment(index),
                "payments" => self.payment(index),
                _ => self.record(index),
            });
            row
        })
    }

    /// The records from `first` on, without end and without ids: further rows of the same kind,
    /// for a load into a store that already holds some.
    pub fn records_from(&self, first: u64) -> impl Iterator<Item = Row> + Send + '_ {
        (first..).map(|index| self.record(index))
    }

    /// The tenant of the client with this id, if the dataset has one.
    pub fn tenant_of(&self, client: i64) -> Option<i64> {
        let index = u64::try_from(client).ok()?.checked_sub(1)?;
        (index < self.shape.clients).then(|| self.client_place(index).0)
    }

    fn client(&self, index: u64) -> Row {
        let (tenant, city, mut draw) = self.client_place(index);
        let given = *draw.pick(&self.given_names);
        let family = *draw.pick(&self.family_names);
        let host = draw.pick(&self.mail_hosts);
        let email = format!(
            "{}.{}{}@{host}",
            mail_part(given),
            mail_part(family),
            index + 1
        );
        let status = *draw.pick(&self.client_statuses);
        let birth = day(date(1935, 1, 1), draw.below(27_000));
        let instants = [instant(&mut draw), instant(&mut draw)];
        let [created, updated] = match instants {
            [a, b] if a <= b => [a, b],
            [a, b] => [b, a],
        };
        vec![
            tenant.into(),
            given.into(),
            family.into(),
            email.into(),
            city.into(),
            status.into(),
            birth.to_string().into(),
            created.into(),
            updated.into(),
        ]
    }

    fn appointment(&self, index: u64) -> Row {
        let mut draw = self.draw(&APPOINTMENTS, index);
        let client = self.some_client(&mut draw);
        let on = day(date(2021, 1, 1), draw.below(1826));
        let starts_at = format!(
            "{on}T{:02}:{:02}:00Z",
            8 + draw.below(10),
            15 * draw.below(4)
        );
        let past = *draw.pick(&self.appointment_statuses);
        let status = if on > TODAY { "scheduled" } else { past };
        vec![
            self.client_place(client).0.into(),
            (client as i64 + 1).into(),
            starts_at.into(),
            (*draw.pick(&self.durations)).into(),
            status.into(),
        ]
    }

    fn payment(&self, index: u64) -> Row {
        let mut draw = self.draw(&PAYMENTS, index);
        let client = self.some_client(&mut draw);
        vec![
            self.client_place(client).0.into(),
            (client as i64 + 1).into(),
            day(date(2021, 1, 1), draw.rising(1734)).to_string().into(),
            log_normal(&mut draw, 8_000).into(),
            (*draw.pick(&self.methods)).into(),
        ]
    }

    fn record(&self, index: u64) -> Row {
        let mut draw = self.draw(&RECORDS, index);
        let client = self.some_client(&mut draw);
        let (tenant, city, _) = self.client_place(client);
        vec![
            tenant.into(),
            (client as i64 + 1).into(),
            day(date(2015, 1, 1), draw.rising(3926)).to_string().into(),
            (*draw.pick(&self.codes)).into(),
            (*draw.pick(&self.stages)).into(),
            city.into(),
            log_normal(&mut draw, 240_000).into(),
        ]
    }

    /// A client's tenant and city, which its records share; they are its first draws. The draws
    /// that follow come with them.
    fn client_place(&self, index: u64) -> (i64, &'static str, Draw) {
        let mut draw = self.draw(&CLIENTS, index);
        (*draw.pick(&self.tenants), *draw.pick(&self.cities), draw)
    }

    fn some_client(&self, draw: &mut Draw) -> u64 {
        u64::from(draw.below(u32::try_from(self.shape.clients).unwrap_or(u32::MAX)))
    }

    fn draw(&self, table: &Table, index: u64) -> Draw {
        // One stream a table, numbered in the order of creation; tenants draw nothing.
        let stream = TABLES
            .iter()
            .position(|known| known.name == table.name)
            .unwrap_or(TABLES.len());
        Draw::new(self.seed, stream as u64, index)
    }
}

fn day(first: Date, offset: u32) -> Date {
    first.saturating_add(i64::from(offset).days())
}

fn instant(draw: &mut Draw) -> String {
    let on = day(date(2018, 1, 1), draw.rising(2829));
    let second = draw.below(86_400);
    format!(
        "{on}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// An amount in cents around a median, evenly within a decile of the log-normal distribution.
fn log_normal(draw: &mut Draw, median_cents: i64) -> i64 {
    let decile = draw.below(10) as usize;
    let [low, high] = [decile, decile + 1].map(|at| words::LOG_NORMAL_DECILES[at]);
    draw.between(low * median_cents / 1000, high * median_cents / 1000)
}

/// What of a name a mail address can hold.
fn mail_part(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphabetic)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::datalayer::batch::Value;

    fn all(seed: u64, records: u64) -> BTreeMap<&'static str, Vec<Row>> {
        let generator = Generator::new(seed, records);
        TABLES
            .iter()
            .map(|table| (table.name, generator.rows(table).collect()))
            .collect()
    }

    fn text(value: &Value) -> &str {
        match value {
            Value::Text(text) => text,
            Value::Integer(_) => panic!("{value:?} is not text"),
        }
    }

    fn integer(value: &Value) -> i64 {
        match value {
            Value::Integer(number) => *number,
            Value::Text(_) => panic!("{value:?} is not a number"),
        }
    }

    #[test]
    fn the_seed_is_the_dataset() {
        assert_eq!(all(42, 1000), all(42, 1000));
        assert_ne!(all(42, 1000)["records"], all(43, 1000)["records"]);
    }

    #[test]
    fn records_go_on_where_the_dataset_ends() {
        let generator = Generator::new(42, 1000);
        let whole: Vec<Row> = generator.records_from(0).take(1000).collect();
        let ours: Vec<Row> = generator
            .rows(&RECORDS)
            .map(|row| row[1..].to_vec())
            .collect();
        assert_eq!(whole, ours);
        let tail: Vec<Row> = generator.records_from(990).take(10).collect();
        assert_eq!(tail, ours[990..]);
    }

    #[test]
    fn rows_fit_their_tables() {
        let tables = all(42, 2000);
        for table in TABLES {
            assert_eq!(
                tables[table.name].len() as u64,
                Shape::of(2000).rows(table),
                "{}",
                table.name
            );
            for (index, row) in tables[table.name].iter().enumerate() {
                assert_eq!(row[0], Value::Integer(index as i64 + 1));
                let kinds: Vec<_> = row.iter().map(Value::kind).collect();
                let expected: Vec<_> = table.columns.iter().map(|column| column.kind).collect();
                assert_eq!(kinds, expected, "{} row {index}", table.name);
            }
        }
    }

    #[test]
    fn children_belong_to_the_tenant_of_their_client() {
        let tables = all(42, 2000);
        let tenant_of = |client: &Value| &tables["clients"][integer(client) as usize - 1][1];
        for table in ["appointments", "payments", "records"] {
            for row in &tables[table] {
                assert_eq!(&row[1], tenant_of(&row[2]), "{table} {row:?}");
            }
        }
        for row in &tables["records"] {
            assert_eq!(
                row[6],
                tables["clients"][integer(&row[2]) as usize - 1][5],
                "{row:?}"
            );
        }
    }

    #[test]
    fn the_tenant_of_a_client_is_known_without_its_row() {
        let generator = Generator::new(42, 2000);
        for row in generator.rows(&CLIENTS) {
            assert_eq!(
                generator.tenant_of(integer(&row[0])),
                Some(integer(&row[1]))
            );
        }
        for nobody in [i64::MIN, -1, 0, 201, i64::MAX] {
            assert_eq!(generator.tenant_of(nobody), None);
        }
    }

    #[test]
    fn the_feeds_of_the_scenarios_name_the_clients_of_their_datasets() {
        let check = |feed: &str, records| {
            let generator = Generator::new(42, records);
            let tenants = generator.rows(&CLIENTS).map(|row| integer(&row[1]));
            let lines = (1..)
                .zip(tenants)
                .map(|(id, tenant)| format!("{id},{tenant}\n"));
            let expected: String = std::iter::once("id,tenant\n".to_owned())
                .chain(lines)
                .collect();
            assert!(
                feed == expected,
                "the feed for {records} records is not its dataset"
            );
        };
        check(include_str!("../../../scenarios/clients.csv"), 100_000);
        check(include_str!("../../../scenarios/clients-1000.csv"), 10_000);
    }

    #[test]
    fn values_are_what_they_say() {
        let tables = all(42, 20_000);
        for row in &tables["clients"] {
            assert!(text(&row[4]).contains("@example."), "{row:?}");
            assert!(
                text(&row[8]) <= text(&row[9]),
                "created before updated: {row:?}"
            );
            text(&row[7]).parse::<Date>().expect("a day");
            text(&row[8])
                .parse::<jiff::Timestamp>()
                .expect("an instant");
        }
        let mut emails: Vec<&str> = tables["clients"].iter().map(|row| text(&row[4])).collect();
        emails.sort_unstable();
        emails.dedup();
        assert_eq!(emails.len(), tables["clients"].len());
        for row in &tables["records"] {
            assert!(
                text(&row[3]).parse::<Date>().expect("a day") <= TODAY,
                "{row:?}"
            );
            assert!(integer(&row[7]) > 0, "{row:?}");
        }
        for row in &tables["appointments"] {
            let on: Date = text(&row[3])[..10].parse().expect("a day");
            assert_eq!(text(&row[5]) == "scheduled", on > TODAY, "{row:?}");
        }
    }

    #[test]
    fn the_distributions_are_skewed_as_described() {
        let records = &all(42, 20_000)["records"];
        let lung = records.iter().filter(|row| row[4] == "C34".into()).count();
        let total: u32 = words::CODES.iter().map(|(_, weight)| weight).sum();
        let expected = 20_000.0 * 124.0 / f64::from(total);
        assert!(
            (lung as f64 - expected).abs() < 4.0 * expected.sqrt(),
            "{lung} for {expected}"
        );

        let mut costs: Vec<i64> = records.iter().map(|row| integer(&row[7])).collect();
        costs.sort_unstable();
        let median = costs[10_000] as f64;
        assert!((median / 240_000.0 - 1.0).abs() < 0.05, "{median}");
        let mean = costs.iter().sum::<i64>() as f64 / 20_000.0;
        assert!(
            mean > 1.3 * median,
            "right-skewed: mean {mean}, median {median}"
        );
    }
}
