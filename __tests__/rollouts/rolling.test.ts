import { suiteOf } from "./matrix.ts";

suiteOf("rolling");
