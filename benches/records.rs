//! The records of the dataset as sqlx alone writes and reads them.

use plimsoll::datalayer::batch::{Row as Values, Value, name_list};
use plimsoll::datalayer::dataset::RECORDS;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ColumnIndex, Database, Decode, Encode, Row, Type};

/// Inserts one, without its id.
pub(crate) fn insert_one() -> String {
    let columns = RECORDS.unkeyed();
    let places: Vec<String> = (1..=columns.len()).map(|nth| format!("${nth}")).collect();
    let (names, places) = (name_list(columns), places.join(", "));
    format!("INSERT INTO records ({names}) VALUES ({places})")
}

/// That statement with the values of a record.
pub(crate) fn inserting<'q, DB>(statement: &str, row: &'q Values) -> Query<'q, DB, DB::Arguments>
where
    DB: Database,
    i64: Type<DB> + for<'e> Encode<'e, DB>,
    &'q str: Type<DB> + Encode<'q, DB>,
{
    let query = sqlx::query(AssertSqlSafe(statement.to_owned()));
    row.iter().fold(query, |query, value| match value {
        Value::Integer(number) => query.bind(*number),
        Value::Text(text) => query.bind(&**text),
    })
}

/// Reads all in the order of their ids.
pub(crate) fn select_all() -> String {
    format!(
        "SELECT {} FROM records ORDER BY id",
        name_list(RECORDS.columns)
    )
}

/// Takes every value out of a row, which counts as one.
pub(crate) fn read<R: Row>(row: &R) -> sqlx::Result<u64>
where
    usize: ColumnIndex<R>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
{
    for place in [0_usize, 1, 2, 7] {
        std::hint::black_box(row.try_get::<i64, _>(place)?);
    }
    for place in 3..7_usize {
        std::hint::black_box(row.try_get::<String, _>(place)?);
    }
    Ok(1)
}
