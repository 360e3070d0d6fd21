#!/bin/sh
# Lay the raw data and the programs that work on it into build/etl, from where they travel to every
# other job as artifacts: the job may run in an empty directory, and the next one elsewhere.
set -eu
home=${ETL_HOME:?}
data=${ETL_DATA:-$home/examples/data/orders.csv}
mkdir -p build/etl/programs
cp "$data" build/etl/orders.csv
cp "$home"/examples/etl/*.py build/etl/programs/
echo "$(($(wc -l < build/etl/orders.csv) - 1)) rows from $data"
