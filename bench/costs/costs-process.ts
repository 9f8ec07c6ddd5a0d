/** The process that measures one point of the costs, so that no point has code that another one had compiled. Started by `costs.ts`. */
import { systemClock } from '../../runtime/clock.ts'
import { serveHelper } from '../helper-process.ts'
import { type CostFigures, type CostOrder, measureCost } from './measure.ts'

serveHelper<CostOrder, CostFigures>(async (order) => () => measureCost(order, systemClock))
