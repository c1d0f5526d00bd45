//! `sigma_fold(text)`: text as Sigma compares it, whatever string type it is stored as. Null stays null.

use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, utils::take_function_args};
use datafusion::logical_expr::{
    ColumnarValue, Expr as Sql, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::text;

/// The folded text of an expression.
pub(super) fn fold(subject: Sql) -> Sql {
    static FOLD: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(Fold { signature: Signature::any(1, Volatility::Immutable) }))
    });
    FOLD.call(vec![subject])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Fold {
    signature: Signature,
}

impl ScalarUDFImpl for Fold {
    fn name(&self) -> &str {
        "sigma_fold"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let [subject] = take_function_args(self.name(), args.args)?;
        let plain = cast(&subject.to_array(rows)?, &DataType::Utf8)?;
        let folded: StringArray = plain.as_string::<i32>().iter().map(|text| text.map(text::fold)).collect();
        Ok(ColumnarValue::Array(Arc::new(folded)))
    }
}
