/** The tests of the shard client once more, over our own HTTP/2. */
process.env.SHARD_TRANSPORT = "native";
for (const name of ["client", "stream", "cluster", "reconnect"]) await import(`./${name}.test.js`);
