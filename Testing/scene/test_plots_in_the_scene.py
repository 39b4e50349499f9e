"""Curves and result tables as nodes of the scene."""

from __future__ import annotations

import math

import slicer
from HSSLSegmentationLib.panel.plots import Curves, resultTable


def column(curves: Curves, name: str) -> list[float]:
    values = curves.table.GetTable().GetColumnByName(name)
    return [values.GetValue(row) for row in range(values.GetNumberOfValues())]


def test_measurements_are_written_in_one_batch_with_a_gap_where_nothing_was_measured():
    curves = Curves("Losses", "Loss")
    assert not curves.show()
    for step in range(3):
        curves.add(step, {"image": step / 2})
    curves.add(3, {"image": 1.5, "group": 9.0})
    assert curves.table.GetTable().GetNumberOfRows() == 0
    assert curves.show()
    assert column(curves, "step") == [0, 1, 2, 3]
    assert column(curves, "image") == [0, 0.5, 1, 1.5]
    assert math.isnan(column(curves, "group")[0]) and column(curves, "group")[3] == 9


def test_each_name_is_a_series_of_its_own_colour_but_hidden_ones_are_in_the_table_only():
    curves = Curves("Losses", "Loss", hidden=("total",))
    curves.add(1, {"image": 1.0, "task": 2.0, "total": 99.0})
    curves.show()
    series = [curves.chart.GetNthPlotSeriesNode(i) for i in range(curves.chart.GetNumberOfPlotSeriesNodes())]
    assert [node.GetName() for node in series] == ["image", "task"]
    assert series[0].GetColor() != series[1].GetColor()
    assert column(curves, "total") == [99.0]


def test_what_is_not_finite_is_left_out():
    curves = Curves("Losses", "Loss")
    curves.add(1, {"image": math.nan, "task": math.inf})
    assert not curves.show()


def test_curves_whose_nodes_the_user_has_deleted_are_no_error():
    curves = Curves("Losses", "Loss")
    curves.add(1, {"image": 1.0})
    slicer.mrmlScene.RemoveNode(curves.table)
    assert not curves.isInScene()
    assert not curves.show()


def test_the_chart_can_be_shown_in_a_layout_with_a_plot():
    curves = Curves("Losses", "Loss")
    curves.add(1, {"image": 1.0})
    curves.show()
    curves.showInLayout()
    selection = slicer.app.applicationLogic().GetSelectionNode()
    assert selection.GetActivePlotChartID() == curves.chart.GetID()


def test_a_legend_lies_beside_the_chart_of_a_panel_and_within_that_of_the_views():
    curves = Curves("Losses", "Loss")
    curves.add(1, {"image <1>": 1.0})
    curves.show()
    assert not curves.chart.GetLegendVisibility() and curves.legend() == "", "the title tells of a single one"
    curves.add(2, {"image <1>": 1.0, "group": 2.0})
    curves.show()
    assert "image&nbsp;&lt;1&gt;" in curves.legend() and "group" in curves.legend()
    assert "rgb(31, 120, 181)" in curves.legend()
    curves.showInLayout()
    assert curves.chart.GetLegendVisibility()


def test_marks_lie_beside_the_legend_of_the_views_and_names_in_it_are_plain():
    for _time in range(2):  # the second chart of a session
        curves = Curves("Do more labels help?", "Dice", marked=True)
        for count, dice in (1, 0.4), (2, 0.6):
            curves.add(count, {"mean": dice, "low": dice - 0.1})
        curves.show()
    assert [series.GetName() for series in curves.series.values()] == ["mean", "low"]
    curves.showInLayout()
    low, high = curves.chart.GetYAxisRange()
    assert round(low, 6) == 0.3 and high > 0.6 + 0.1


def test_a_result_table_has_a_row_for_each_result_and_keeps_numbers_numbers():
    node = resultTable(
        "Comparison", [{"start": "scratch", "dice": 0.5}, {"start": "pretrain", "dice": None, "minutes": 2}]
    )
    table = node.GetTable()
    assert [table.GetColumnName(i) for i in range(table.GetNumberOfColumns())] == ["start", "dice", "minutes"]
    assert table.GetColumnByName("start").GetValue(1) == "pretrain"
    assert table.GetColumnByName("dice").GetValue(0) == 0.5
    assert math.isnan(table.GetColumnByName("dice").GetValue(1))
