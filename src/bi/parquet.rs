//! Parquet files of rows: one optional column per name, by the file writer of the `parquet` crate, without Arrow.

use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use super::export::{Columns, Holds, Written};
use crate::data::rows;
use crate::error::{Error, Result};

/// Rows of a row group, and their bytes as JSON: they are in memory together.
const GROUP: usize = 10_000;
const GROUP_BYTES: usize = 32 << 20;

type Row = Map<String, Value>;

fn wrong(error: ParquetError) -> Error {
    Error::internal("the Parquet file could not be written").with_source(error)
}

/// Writes rows as Parquet, snappy-compressed.
pub(super) fn write(
    mut rows: impl Iterator<Item = Result<Written>>,
    columns: &Columns,
    out: BufWriter<File>,
) -> Result<File> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(concat!("cairn ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    let schema = schema(columns).map_err(wrong)?;
    let mut writer =
        SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties)).map_err(wrong)?;
    loop {
        let (mut group, mut bytes): (Vec<Row>, usize) = (Vec::new(), 0);
        while group.len() < GROUP
            && bytes < GROUP_BYTES
            && let Some(row) = rows.next()
        {
            let (row, length) = row?;
            bytes += length;
            group.push(row);
        }
        if group.is_empty() {
            break;
        }
        let mut into = writer.next_row_group().map_err(wrong)?;
        for (name, holds) in &columns.0 {
            let values: Vec<Option<&Value>> = group
                .iter()
                .map(|row| row.get(name).filter(|v| !v.is_null()))
                .collect();
            column(&mut into, *holds, &values).map_err(wrong)?;
        }
        into.close().map_err(wrong)?;
    }
    let out = writer.into_inner().map_err(wrong)?;
    out.into_inner().map_err(|e| Error::from(e.into_error()))
}

fn schema(columns: &Columns) -> Result<Type, ParquetError> {
    let fields = columns.0.iter().map(|(name, holds)| {
        let (physical, logical) = match holds {
            Holds::Boolean => (Physical::BOOLEAN, None),
            Holds::Integer { .. } => (Physical::INT64, None),
            Holds::Double => (Physical::DOUBLE, None),
            Holds::Text | Holds::Nothing => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    });
    Type::group_type_builder("rows")
        .with_fields(fields.collect::<Result<_, _>>()?)
        .build()
}

/// Writes one column of a row group: a definition level for each row, and the values of those that have one.
fn column(
    into: &mut SerializedRowGroupWriter<'_, BufWriter<File>>,
    holds: Holds,
    values: &[Option<&Value>],
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("a column is missing in the schema".to_owned());
    let mut writer = into.next_column()?.ok_or_else(missing)?;
    let levels: Vec<i16> = values.iter().map(|v| i16::from(v.is_some())).collect();
    let present = values.iter().flatten();
    let levels = Some(&levels[..]);
    match holds {
        Holds::Boolean => {
            let cells: Vec<bool> = present.filter_map(|v| v.as_bool()).collect();
            writer.typed::<BoolType>().write_batch(&cells, levels, None)
        }
        Holds::Integer { .. } => {
            let cells: Vec<i64> = present.filter_map(|v| v.as_i64()).collect();
            writer
                .typed::<Int64Type>()
                .write_batch(&cells, levels, None)
        }
        Holds::Double => {
            let cells: Vec<f64> = present.filter_map(|v| v.as_f64()).collect();
            writer
                .typed::<DoubleType>()
                .write_batch(&cells, levels, None)
        }
        Holds::Text | Holds::Nothing => {
            let cells: Vec<ByteArray> = present
                .map(|v| ByteArray::from(rows::cell(Some(v)).into_bytes()))
                .collect();
            writer
                .typed::<ByteArrayType>()
                .write_batch(&cells, levels, None)
        }
    }?;
    writer.close()
}
