import { suiteOf } from "./matrix.ts";

suiteOf("recycle");
