//! Writes the ONNX graph of a BERT encoder from its published weights, in fp32 or with int8 matrix products.
//!
//! The graph follows the BERT paper (Devlin et al. 2019, post-layer-norm encoder with GELU). Attention uses ONNX Runtime's
//! fused `MultiHeadAttention`, whose CPU kernel avoids the sequence × sequence intermediates. int8 follows ONNX Runtime's
//! dynamic quantisation: activations become u8 with one scale per call, weights s8 with one scale per output channel.
//! Weights use 7 of the 8 bits: processors without VNNI add two u8 × s8 products in 16 bits, and 8-bit weights would saturate there.

mod proto;

use prost::Message;
use proto::{
    ATTRIBUTE_FLOAT, ATTRIBUTE_INT, AttributeProto, DimensionProto, FLOAT, GraphProto, INT8, INT32,
    INT64, ModelProto, NodeProto, OperatorSetIdProto, ShapeProto, TensorProto, TensorTypeProto,
    TypeProto, ValueInfoProto,
};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::{Error, Precision, Result};

/// The fields of a BERT `config.json` that determine the graph.
#[derive(Debug, Clone, Deserialize)]
pub struct BertConfig {
    /// Dimensions of the token vectors.
    pub hidden_size: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Number of encoder layers.
    pub num_hidden_layers: usize,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f32,
    /// Activation; only `gelu` is supported.
    pub hidden_act: String,
}

/// Opset 20 is the first with `Gelu`.
const OPSET: i64 = 20;
/// Domain of ONNX Runtime's fused operators.
const FUSED: &str = "com.microsoft";
/// Largest magnitude of a quantised weight (7 bits, see the module documentation).
const WEIGHT_LIMIT: f32 = 63.0;

/// Number of rows from which the table of token vectors has 8-bit values and one scale per row, instead of f32.
const LARGE_VOCABULARY: usize = 100_000;

/// Published weights, read tensor by tensor.
pub trait Weights {
    /// Returns the shape and the row-major values of a tensor, named as in `transformers`' `BertModel`.
    ///
    /// # Errors
    /// [`Error::Load`] when it is missing or has another type.
    fn tensor(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)>;
}

/// Weights in the format `safetensors`; names may begin with `bert.`.
pub struct Published<'a> {
    model: &'a str,
    tensors: SafeTensors<'a>,
}

impl<'a> Published<'a> {
    /// Reads the directory of the tensors.
    ///
    /// # Errors
    /// [`Error::Load`] when the bytes are not in that format.
    pub fn read(model: &'a str, bytes: &'a [u8]) -> Result<Self> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| Error::load(model, e))?;
        Ok(Self { model, tensors })
    }
}

impl Weights for Published<'_> {
    fn tensor(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let tensor = self
            .tensors
            .tensor(name)
            .or_else(|_| self.tensors.tensor(&format!("bert.{name}")))
            .map_err(|e| Error::load(self.model, format!("{name}: {e}")))?;
        if tensor.dtype() != Dtype::F32 {
            return Err(Error::load(
                self.model,
                format!("{name} is {:?}, expected F32", tensor.dtype()),
            ));
        }
        let (values, _) = tensor.data().as_chunks::<4>();
        Ok((
            tensor.shape().to_vec(),
            values.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        ))
    }
}

/// The layers after the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// No head: output `last_hidden_state` (`[batch, sequence, hidden]`, f32).
    None,
    /// Pooler and classifier over the first token, as in `BertForSequenceClassification`: output `logits` (`[batch, labels]`, f32).
    Classifier,
}

/// Writes the graph as an ONNX file: inputs `input_ids`, `attention_mask`, `token_type_ids` (all `[batch, sequence]`, i64), output depending on the head.
///
/// # Errors
/// Those of the weights; [`Error::Load`] when the activation is not GELU.
pub fn write_bert(
    name: &str,
    config: &BertConfig,
    weights: &dyn Weights,
    precision: Precision,
    head: Head,
) -> Result<Vec<u8>> {
    if config.hidden_act != "gelu" {
        return Err(Error::load(
            name,
            format!("activation {} is not supported", config.hidden_act),
        ));
    }
    let mut writer = Writer {
        model: name,
        weights,
        precision,
        nodes: Vec::new(),
        initializers: Vec::new(),
    };
    let encoded = writer.encoder(config)?;
    let output = match head {
        Head::None => value(
            &encoded,
            FLOAT,
            &["batch", "sequence"],
            Some(config.hidden_size),
        ),
        Head::Classifier => {
            let labels = writer.classifier(&encoded)?;
            value("logits", FLOAT, &["batch"], Some(labels))
        }
    };
    let graph = GraphProto {
        node: writer.nodes,
        name: name.to_owned(),
        initializer: writer.initializers,
        input: ["input_ids", "attention_mask", "token_type_ids"]
            .map(|n| value(n, INT64, &["batch", "sequence"], None))
            .to_vec(),
        output: vec![output],
    };
    let opset = |domain: &str, version| OperatorSetIdProto {
        domain: domain.to_owned(),
        version,
    };
    let model = ModelProto {
        ir_version: 9,
        producer_name: "cairn".to_owned(),
        graph: Some(graph),
        opset_import: vec![opset("", OPSET), opset(FUSED, 1)],
    };
    Ok(model.encode_to_vec())
}

fn value(name: &str, elem_type: i32, named: &[&str], last: Option<usize>) -> ValueInfoProto {
    let mut dim: Vec<DimensionProto> = named
        .iter()
        .map(|d| DimensionProto {
            dim_value: None,
            dim_param: Some((*d).to_owned()),
        })
        .collect();
    dim.extend(last.map(|n| DimensionProto {
        dim_value: Some(n as i64),
        dim_param: None,
    }));
    let tensor = TensorTypeProto {
        elem_type,
        shape: Some(ShapeProto { dim }),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor),
        }),
    }
}

struct Writer<'a> {
    model: &'a str,
    weights: &'a dyn Weights,
    precision: Precision,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

/// A published weight matrix: `rows` outputs by `columns` inputs, row-major.
struct Matrix {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
}

impl Writer<'_> {
    fn encoder(&mut self, config: &BertConfig) -> Result<String> {
        let mut hidden = self.embeddings(config)?;
        // The fused attention expects an i32 mask, 1 for tokens and 0 for padding.
        self.node_with(
            "Cast",
            "",
            &["attention_mask"],
            &["mask"],
            vec![int("to", i64::from(INT32))],
        );
        for layer in 0..config.num_hidden_layers {
            hidden = self.layer(config, layer, &hidden)?;
        }
        self.node("Identity", &[&hidden], &["last_hidden_state"]);
        Ok("last_hidden_state".to_owned())
    }

    /// Returns the number of labels.
    fn classifier(&mut self, encoded: &str) -> Result<usize> {
        self.initializer("first", INT64, &[], 0_i64.to_le_bytes().to_vec());
        self.node_with(
            "Gather",
            "",
            &[encoded, "first"],
            &["first_token"],
            vec![int("axis", 1)],
        );
        let input = self.quantised("first_token");
        self.linear(&input, "pooler.dense", "pooled")?;
        self.node("Tanh", &["pooled"], &["pooled_tanh"]);
        let input = self.quantised("pooled_tanh");
        self.linear(&input, "classifier", "logits")?;
        Ok(self.vector("classifier.bias")?.len())
    }

    fn embeddings(&mut self, config: &BertConfig) -> Result<String> {
        for table in ["token_type", "position"] {
            let name = format!("embeddings.{table}_embeddings.weight");
            let matrix = self.matrix(&name)?;
            self.floats(&name, &[matrix.rows, matrix.columns], &matrix.values);
        }
        self.words()?;
        self.longs("zero", &[0]);
        self.longs("one", &[1]);
        self.longs("two", &[2]);
        self.node("Shape", &["input_ids"], &["shape"]);
        self.node("Slice", &["shape", "one", "two"], &["length"]);
        self.node(
            "Slice",
            &[
                "embeddings.position_embeddings.weight",
                "zero",
                "length",
                "zero",
            ],
            &["positions"],
        );
        self.node(
            "Gather",
            &["embeddings.token_type_embeddings.weight", "token_type_ids"],
            &["types"],
        );
        self.node("Add", &["words", "types"], &["words_types"]);
        self.node("Add", &["words_types", "positions"], &["embedded"]);
        self.layer_norm(config, "embeddings.LayerNorm", "embedded", "hidden_0")
    }

    /// Looks up the token vectors. The table of a large vocabulary is most of the model, so it has 8-bit values there.
    fn words(&mut self) -> Result<()> {
        let name = "embeddings.word_embeddings.weight";
        let table = self.matrix(name)?;
        let shape = [table.rows, table.columns];
        if self.precision == Precision::Fp32 || table.rows < LARGE_VOCABULARY {
            self.floats(name, &shape, &table.values);
            self.node("Gather", &[name, "input_ids"], &["words"]);
            return Ok(());
        }
        let limit = f32::from(i8::MAX);
        let (mut values, mut scales) = (Vec::with_capacity(table.values.len()), Vec::new());
        for row in table.values.chunks(table.columns) {
            let largest = row.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
            values.extend(
                row.iter()
                    .map(|v| (v / largest * limit).round() as i8 as u8),
            );
            scales.push(largest / limit);
        }
        self.initializer(name, INT8, &shape, values);
        self.floats("words.scale", &[scales.len(), 1], &scales);
        self.node("Gather", &[name, "input_ids"], &["words.whole"]);
        self.node_with(
            "Cast",
            "",
            &["words.whole"],
            &["words.real"],
            vec![int("to", i64::from(FLOAT))],
        );
        self.node("Gather", &["words.scale", "input_ids"], &["words.scales"]);
        self.node("Mul", &["words.real", "words.scales"], &["words"]);
        Ok(())
    }

    fn layer(&mut self, config: &BertConfig, layer: usize, hidden: &str) -> Result<String> {
        let p = format!("encoder.layer.{layer}");
        let part = |name: &str| format!("l{layer}.{name}");
        let input = self.quantised(hidden);
        let [q, k, v] = ["query", "key", "value"];
        for name in [q, k, v] {
            self.linear(&input, &format!("{p}.attention.self.{name}"), &part(name))?;
        }
        self.node_with(
            "MultiHeadAttention",
            FUSED,
            &[&part(q), &part(k), &part(v), "", "mask"],
            &[&part("context")],
            vec![int("num_heads", config.num_attention_heads as i64)],
        );
        let context = self.quantised(&part("context"));
        self.linear(
            &context,
            &format!("{p}.attention.output.dense"),
            &part("attended"),
        )?;
        self.node("Add", &[&part("attended"), hidden], &[&part("residual_1")]);
        let middle = self.layer_norm(
            config,
            &format!("{p}.attention.output.LayerNorm"),
            &part("residual_1"),
            &part("middle"),
        )?;
        let input = self.quantised(&middle);
        self.linear(&input, &format!("{p}.intermediate.dense"), &part("wide"))?;
        self.node("Gelu", &[&part("wide")], &[&part("activated")]);
        let input = self.quantised(&part("activated"));
        self.linear(&input, &format!("{p}.output.dense"), &part("narrow"))?;
        self.node("Add", &[&part("narrow"), &middle], &[&part("residual_2")]);
        self.layer_norm(
            config,
            &format!("{p}.output.LayerNorm"),
            &part("residual_2"),
            &part("hidden"),
        )
    }

    /// Quantises an activation once for all products that use it; fp32 activations are returned unchanged.
    fn quantised(&mut self, input: &str) -> String {
        if self.precision == Precision::Int8 {
            let [values, scale, zero] = ["q", "scale", "zero"].map(|s| format!("{input}.{s}"));
            self.node("DynamicQuantizeLinear", &[input], &[&values, &scale, &zero]);
        }
        input.to_owned()
    }

    fn linear(&mut self, input: &str, weight: &str, output: &str) -> Result<()> {
        let matrix = self.matrix(&format!("{weight}.weight"))?;
        let bias = self.vector(&format!("{weight}.bias"))?;
        let (w, b, product) = (
            format!("{weight}.weight"),
            format!("{weight}.bias"),
            format!("{output}.product"),
        );
        self.floats(&b, &[bias.len()], &bias);
        let shape = [matrix.columns, matrix.rows];
        match self.precision {
            Precision::Fp32 => {
                let transposed = transpose(&matrix);
                self.floats(&w, &shape, &transposed);
                self.node("MatMul", &[input, &w], &[&product]);
            }
            Precision::Int8 => {
                let (values, scales) = quantise(&matrix);
                let w_scale = format!("{w}.scale");
                self.initializer(&w, INT8, &shape, values);
                self.floats(&w_scale, &[scales.len()], &scales);
                let [q, scale, zero] = ["q", "scale", "zero"].map(|s| format!("{input}.{s}"));
                let [whole, real, scales] =
                    ["whole", "real", "scales"].map(|s| format!("{output}.{s}"));
                self.node("MatMulInteger", &[&q, &w, &zero], &[&whole]);
                self.node_with(
                    "Cast",
                    "",
                    &[&whole],
                    &[&real],
                    vec![int("to", i64::from(FLOAT))],
                );
                self.node("Mul", &[&scale, &w_scale], &[&scales]);
                self.node("Mul", &[&real, &scales], &[&product]);
            }
        }
        self.node("Add", &[&product, &b], &[output]);
        Ok(())
    }

    fn layer_norm(
        &mut self,
        config: &BertConfig,
        weight: &str,
        input: &str,
        output: &str,
    ) -> Result<String> {
        let (scale, bias) = (format!("{weight}.weight"), format!("{weight}.bias"));
        for name in [&scale, &bias] {
            let values = self.vector(name)?;
            self.floats(name, &[values.len()], &values);
        }
        let epsilon = AttributeProto {
            name: "epsilon".to_owned(),
            f: Some(config.layer_norm_eps),
            i: None,
            r#type: ATTRIBUTE_FLOAT,
        };
        self.node_with(
            "LayerNormalization",
            "",
            &[input, &scale, &bias],
            &[output],
            vec![int("axis", -1), epsilon],
        );
        Ok(output.to_owned())
    }

    fn node(&mut self, op: &str, input: &[&str], output: &[&str]) {
        self.node_with(op, "", input, output, Vec::new());
    }

    fn node_with(
        &mut self,
        op: &str,
        domain: &str,
        input: &[&str],
        output: &[&str],
        attribute: Vec<AttributeProto>,
    ) {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        self.nodes.push(NodeProto {
            input: owned(input),
            output: owned(output),
            name: format!("{op}_{}", self.nodes.len()),
            op_type: op.to_owned(),
            attribute,
            domain: domain.to_owned(),
        });
    }

    fn initializer(&mut self, name: &str, data_type: i32, shape: &[usize], raw_data: Vec<u8>) {
        let dims = shape.iter().map(|n| *n as i64).collect();
        self.initializers.push(TensorProto {
            dims,
            data_type,
            name: name.to_owned(),
            raw_data,
        });
    }

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.initializer(
            name,
            FLOAT,
            shape,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        );
    }

    fn longs(&mut self, name: &str, values: &[i64]) {
        self.initializer(
            name,
            INT64,
            &[values.len()],
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        );
    }

    fn matrix(&self, name: &str) -> Result<Matrix> {
        let (shape, values) = self.weights.tensor(name)?;
        let [rows, columns] = shape[..] else {
            return Err(Error::load(
                self.model,
                format!("{name} has shape {shape:?}, expected a matrix"),
            ));
        };
        Ok(Matrix {
            values,
            rows,
            columns,
        })
    }

    fn vector(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.weights.tensor(name)?.1)
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        f: None,
        i: Some(value),
        r#type: ATTRIBUTE_INT,
    }
}

fn transpose(matrix: &Matrix) -> Vec<f32> {
    (0..matrix.columns)
        .flat_map(|c| (0..matrix.rows).map(move |r| matrix.values[r * matrix.columns + c]))
        .collect()
}

/// Quantises symmetrically with one scale per output, transposed for `input × weight`.
fn quantise(matrix: &Matrix) -> (Vec<u8>, Vec<f32>) {
    let scales: Vec<f32> = matrix
        .values
        .chunks(matrix.columns)
        .map(best_scale)
        .collect();
    let values = transpose(matrix)
        .chunks(matrix.rows)
        .flat_map(|column| {
            column
                .iter()
                .zip(&scales)
                .map(|(v, s)| (v / s).round().clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT) as i8 as u8)
        })
        .collect();
    (values, scales)
}

/// Returns the scale with the least squared error: clipping a rare large weight can reduce the rounding error of all others.
fn best_scale(row: &[f32]) -> f32 {
    let largest = row
        .iter()
        .fold(f32::MIN_POSITIVE, |max, v| max.max(v.abs()));
    let error = |scale: f32| {
        let restored = |v: f32| (v / scale).round().clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT) * scale;
        row.iter().map(|v| (v - restored(*v)).powi(2)).sum::<f32>()
    };
    let mut best = (largest / WEIGHT_LIMIT, error(largest / WEIGHT_LIMIT));
    for step in 1..=12 {
        let scale = largest * (1.0 - 0.03 * step as f32) / WEIGHT_LIMIT;
        let candidate = (scale, error(scale));
        if candidate.1 < best.1 {
            best = candidate;
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rare_large_weight_does_not_coarsen_the_others() {
        let mut row: Vec<f32> = (0..400)
            .map(|n| ((n * 37 % 101) as f32 - 50.0) / 500.0)
            .collect();
        let plain = best_scale(&row);
        assert!((plain - 0.1 / WEIGHT_LIMIT).abs() < 1e-3);
        row[7] = 0.13;
        assert!(best_scale(&row) < 0.13 / WEIGHT_LIMIT);
    }

    #[test]
    fn quantisation_keeps_every_weight_within_half_a_step() {
        // rows (outputs) 2, columns (inputs) 3; the largest magnitudes are 1.0 and 0.5, so steps are 1/63 and 0.5/63
        let matrix = Matrix {
            values: vec![1.0, -0.5, 0.25, 0.1, -0.5, 0.0],
            rows: 2,
            columns: 3,
        };
        let (values, scales) = quantise(&matrix);
        for row in 0..2 {
            for column in 0..3 {
                let restored = f32::from(values[column * 2 + row] as i8) * scales[row];
                assert!(
                    (restored - matrix.values[row * 3 + column]).abs() <= scales[row] / 2.0 + 1e-7
                );
            }
        }
    }
}
