/** How a definition may have its predictions written; imported by definitions, their checks and `prediction-codec.ts`. */

/** `avro`: single-object encoding. `json`: see `prediction-json.ts`. `registry`: Avro in the Confluent wire format. */
export type PredictionFormat = (typeof predictionFormats)[number]
export const predictionFormats = ['avro', 'json', 'registry'] as const
