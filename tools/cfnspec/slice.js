// Prints the part of AWS's schemas that our templates need, as package cfn reads it: the types that types.txt
// names, with all that they are made of. What it takes is the database in the package
// @aws-cdk/aws-service-spec, whose folder is the first argument.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');

const folder = process.argv[2];
const version = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')).version;
const schema = JSON.parse(zlib.gunzipSync(fs.readFileSync(path.join(folder, 'db.json.gz'))).toString('utf8')).schema;
const wanted = fs.readFileSync(path.join(__dirname, 'types.txt'), 'utf8').split('\n').filter(Boolean);

const byId = new Map(schema.typeDefinition.entities.map((t) => [t.$id, t]));
const byName = new Map(schema.resource.entities.map((r) => [r.cloudFormationType, r]));
const definitions = {};

function shape(t) {
  const out = { is: t.type };
  if (t.element) out.of = shape(t.element);
  if (t.types) out.any = t.types.map(shape);
  if (t.allowedValues) out.values = t.allowedValues.map(String);
  if (t.pattern) out.pattern = t.pattern;
  if (t.type === 'ref') {
    out.ref = t.reference.$ref;
    define(out.ref);
  }
  return out;
}

function properties(from) {
  const out = {};
  for (const [name, p] of Object.entries(from)) {
    out[name] = shape(p.type);
    // A property was something else once: templates of that time are still good.
    if (p.previousTypes) out[name] = { is: 'union', any: [out[name], ...p.previousTypes.map(shape)] };
    if (p.required) out[name].required = true;
    if (p.causesReplacement && p.causesReplacement !== 'no') out[name].replace = p.causesReplacement;
  }
  return out;
}

function define(id) {
  if (definitions[id]) return;
  definitions[id] = { properties: {} }; // before what is in it, which may lead back
  definitions[id].properties = properties(byId.get(id).properties);
}

const types = {};
for (const name of wanted) {
  const r = byName.get(name);
  if (!r) {
    console.error(`slice.js: ${name} of types.txt is none of the ${byName.size} types that there are`);
    process.exit(1);
  }
  const attributes = {};
  for (const [a, v] of Object.entries(r.attributes)) attributes[a] = shape(v.type);
  types[name] = { attributes, properties: properties(r.properties) };
}
console.log(JSON.stringify({ version, types, definitions }));
