/** The tests of the shard client once more, over grpc-js. */
process.env.SHARD_TRANSPORT = "grpc-js";
for (const name of ["client", "stream", "cluster", "reconnect"]) await import(`./${name}.test.js`);
