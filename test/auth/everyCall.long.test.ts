import { testEveryCall } from "./everyCallTests.js";

testEveryCall("a dedicated cluster");
