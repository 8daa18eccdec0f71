import { suiteOf } from "./matrix.ts";

suiteOf("all-at-once");
